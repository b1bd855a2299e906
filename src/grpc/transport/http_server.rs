//! HTTP on each connection: hyper's servers of both versions, with our limits and our shutdown. The port says which
//! versions it speaks.
//!
//! Decision: not tonic's transport. It clones and boxes services, bodies and extensions for every request, answers
//! deadlines outside of the metrics, and runs connections in tasks that cannot be ended. Not hyper-util's server for
//! both versions either: writes are held back for HTTP/2 only, so the version has to be known below it.
//!
//! Invariant: a connection is a task of the tracker's from the handshake on, and ends: with its peer, when its place says
//! so, after its last request once the server is leaving, or at once when it is cut off.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::pending,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service};
use tracing::debug;

use super::{
    channel::{Channel, Opener, Version},
    connections::ConnectionPlace,
    guarded_stream::GuardedStream,
    listener::Connection,
    peer::Peer,
};
use crate::sync::TaskTracker;

/// All headers of a request, as HTTP/2 counts them; the largest legal ones have a tenth of it.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of a request that are held unread. The largest legal one has a few KiB; hyper's own would be 1 MiB.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all requests of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// A connection that shows no life is asked for it after this, and closed if it gives none.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// When the server leaves: for a connection without an admitted request.
const NEW_CONNECTION_LEAVES: Duration = Duration::from_secs(1);

/// Limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct HttpLimits {
    /// How long a peer may take to send its first bytes.
    pub(in crate::grpc) preface: Duration,
    /// With HTTP/1.1: how long a connection may be without a complete head of a request.
    pub(in crate::grpc) keep_alive: Duration,
    /// Concurrent requests.
    pub(in crate::grpc) streams: u32,
}

/// What ends all connections of a server.
#[derive(Clone, Debug, Default)]
pub(in crate::grpc) struct Leave {
    /// After their last requests.
    pub(in crate::grpc) leaving: CancellationToken,
    /// At once.
    pub(in crate::grpc) cut_off: CancellationToken,
}

/// Serves every connection until the server leaves, then until the last request has been answered.
pub(in crate::grpc) async fn serve<S, B>(
    incoming: impl Stream<Item = (Connection, Arc<ConnectionPlace>)>,
    opener: Opener,
    service: impl Fn(Peer) -> S + Clone + Send + 'static,
    limits: HttpLimits,
    tracker: &TaskTracker,
    leave: Leave,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + Unpin + 'static,
    B: Body<Error: Into<BoxError>> + Send + Unpin + 'static,
    B::Data: Send,
{
    let builders = Builders::new(limits, tracker);
    // Beside the app's tracker: this waits for its own connections only.
    let connections = TaskTracker::new();
    let mut incoming = Box::pin(incoming.take_until(leave.leaving.cancelled()));
    while let Some((connection, place)) = incoming.next().await {
        let (service, leave, counted) = (service.clone(), leave.clone(), connections.token());
        let (mut opener, builders) = (opener.clone(), builders.clone());
        tracker.spawn(async move {
            let _counted = counted;
            let opening = async {
                let mut channel = opener.open(connection).await?;
                let version = opener.version(&mut channel, limits.preface).await?;
                Ok::<_, io::Error>((channel, version))
            };
            let opened = tokio::select! {
                biased;
                () = leave.cut_off.cancelled() => return,
                () = leave.leaving.cancelled() => return,
                _ = place.ends(pending()) => return,
                opened = opening => opened,
            };
            // Every client can cause what fails here, so it is no warning.
            let (channel, version) = match opened {
                Ok(opened) => opened,
                Err(error) => return debug!(%error, "the connection could not be opened; it is closed"),
            };
            let opened = Opened { channel, opener, place, limits, leave };
            let ended = match version {
                Version::Http1 => {
                    opened.serve(service, |stream, service| builders.http1.serve_connection(stream, service)).await
                }
                Version::Http2 => {
                    opened.serve(service, |stream, service| builders.http2.serve_connection(stream, service)).await
                }
            };
            if let Err(error) = ended {
                debug!(error = &error as &dyn std::error::Error, ?version, "connection failed");
            }
        });
    }
    // Order: the port is free, and refuses, before the last request has been answered.
    drop(incoming);
    connections.close();
    connections.wait().await;
}

/// A connection whose requests can be read.
struct Opened {
    channel: Channel,
    opener: Opener,
    place: Arc<ConnectionPlace>,
    limits: HttpLimits,
    leave: Leave,
}

impl Opened {
    async fn serve<S, C>(
        self,
        service: impl FnOnce(Peer) -> S,
        connect: impl FnOnce(TokioIo<GuardedStream<Channel>>, ConnectionService<S>) -> C,
    ) -> Result<(), hyper::Error>
    where
        C: HttpConnection,
    {
        let Self { mut channel, opener, place, limits, leave } = self;
        // HTTP/1.1 has cycles too: they bound what is read before a request is admitted.
        let cycles = channel.in_poll_cycles();
        let peer = Peer::at(&place, channel.peer_uri());
        let certificate = opener.client_certificate(&channel);
        let credentials = async move {
            match certificate {
                Some(certificate) => certificate.ends().await,
                None => pending().await,
            }
        };
        let service = ConnectionService(RefCell::new(service(peer)));
        let stream = GuardedStream::new(channel, Arc::clone(&place), cycles.clone(), limits.preface);
        let mut connection = pin!(connect(TokioIo::new(stream), service));
        let end = tokio::select! {
            biased;
            () = leave.cut_off.cancelled() => return Ok(()),
            ended = cycles.run(connection.as_mut()) => return ended,
            () = leave.leaving.cancelled() => None,
            end = place.ends(credentials) => Some(end),
        };
        let grace = match end {
            // Nothing of a caller is in progress: the head of a request may be half sent.
            None if !place.is_admitted() => Some(NEW_CONNECTION_LEAVES),
            None => None,
            Some(end) => {
                debug!(?end, "connection is ended");
                let Some(grace) = place.grace(end) else { return Ok(()) };
                Some(grace)
            }
        };
        connection.as_mut().finish();
        let finished = leave.cut_off.run_until_cancelled(cycles.run(connection));
        let finished = match grace {
            None => finished.await,
            Some(grace) => tokio::time::timeout(grace, finished).await.unwrap_or_default(),
        };
        finished.unwrap_or(Ok(()))
    }
}

/// hyper's connections of both versions.
trait HttpConnection: Future<Output = hyper::Result<()>> {
    /// Takes no further requests, and ends after those in progress.
    fn finish(self: Pin<&mut Self>);
}

impl<S, B> HttpConnection for http1::Connection<TokioIo<GuardedStream<Channel>>, ConnectionService<S>>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B> HttpConnection for http2::Connection<TokioIo<GuardedStream<Channel>>, ConnectionService<S>, AtOnce>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + Unpin + 'static,
    B: Body<Error: Into<BoxError>> + Send + Unpin + 'static,
    B::Data: Send,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// How both versions are served.
#[derive(Clone, Debug)]
struct Builders {
    http1: http1::Builder,
    http2: http2::Builder<AtOnce>,
}

impl Builders {
    fn new(limits: HttpLimits, tracker: &TaskTracker) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.keep_alive)
            .max_buf_size(HEADER_LIST_BYTES_MAX as usize);
        let mut http2 = http2::Builder::new(AtOnce(tracker.clone()));
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            // Streams that are reset before they are accepted: a client may cancel all its calls at once. More is an
            // attack (CVE-2023-44487).
            .max_pending_accept_reset_streams(limits.streams as usize)
            // gRPC does not use it, and a value that changes every second is never in the peer's header table.
            .auto_date_header(false);
        Self { http1, http2 }
    }
}

/// Polls a request once; it becomes a task only if it has to wait.
///
/// A hit is ready then: HTTP/2 has the reply before the connection's task looks at the next request, and no other
/// thread has to run a task for it.
#[derive(Clone, Debug)]
struct AtOnce(TaskTracker);

impl<F> Executor<F> for AtOnce
where
    F: Future<Output = ()> + Unpin + Send + 'static,
{
    fn execute(&self, mut request: F) {
        // A request that waits is polled again by its task, with its waker.
        if Pin::new(&mut request).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.0.spawn(request);
        }
    }
}

/// A tower service for the requests of one connection, which hyper hands over one after the other.
#[derive(Debug)]
struct ConnectionService<S>(RefCell<S>);

impl<S: Service<Request<Incoming>>> hyper::service::Service<Request<Incoming>> for ConnectionService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // Our services are always ready.
        self.0.borrow_mut().call(request)
    }
}
