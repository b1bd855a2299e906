//! A port of the server. All ports share the limit of connections and leave together.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tower::{BoxError, Service};

use super::{
    channel::Opener,
    connections::Connections,
    http_server::{self, HttpLimits, Leave},
    listener,
    peer::Peer,
    tls::Spoken,
};
use crate::sync::TaskTracker;

/// How the connections of a port are opened, limited and ended.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(in crate::grpc) opener: Opener,
    pub(in crate::grpc) connections: Connections,
    pub(in crate::grpc) write_stall_max: Duration,
    pub(in crate::grpc) limits: HttpLimits,
    pub(in crate::grpc) tracker: TaskTracker,
    pub(in crate::grpc) leave: Leave,
}

impl Port {
    /// The same for both versions of HTTP. With HTTP/1.1, a connection may be without a complete head of a request for
    /// `keep_alive`.
    #[must_use]
    pub(in crate::grpc) fn of_both_versions(&self, keep_alive: Duration) -> Self {
        let opener = Opener { spoken: Spoken::Http1And2, ..self.opener.clone() };
        Self { opener, limits: HttpLimits { keep_alive, ..self.limits }, ..self.clone() }
    }

    /// Serves until the server leaves, then until the last request has been answered.
    pub(crate) async fn serve<S, B>(self, listener: TcpListener, service: impl Fn(Peer) -> S + Clone + Send + 'static)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + Unpin + 'static,
        B: Body<Error: Into<BoxError>> + Send + Unpin + 'static,
        B::Data: Send,
    {
        let incoming = listener::incoming(listener, self.connections, self.write_stall_max);
        http_server::serve(incoming, self.opener, service, self.limits, &self.tracker, self.leave).await;
    }
}
