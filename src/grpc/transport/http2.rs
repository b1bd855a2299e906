//! HTTP/2 on each connection: hyper's server, with our limits and our end.
//!
//! Decision: not tonic's transport around it. That clones and boxes services, bodies and extensions for every request,
//! answers deadlines outside of what our metrics see, and runs connections in tasks that nobody can end; what it adds for
//! HTTP/1, upgrades and connection ages we have no use for.
//!
//! Invariant: a connection is a task of the tracker's, and ends: with its peer, after its last request once the server is
//! leaving, or at once when it is cut off.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    task::{Context, Waker},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use http::{Request, Response};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use tracing::debug;

use crate::sync::TaskTracker;

use super::{listener::Peer, preface::Prompt, tls::Channel};
use crate::grpc::{
    middleware::response_body::ReplyBody,
    stack::{Answering, Stack},
};

/// All headers of a request, as HTTP/2 counts them; the largest legal ones have a tenth of it.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// A connection that shows no life is asked for it after this, and closed if it gives none.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct Http2Limits {
    /// How long a peer may take to begin.
    pub(in crate::grpc) preface: Duration,
    /// Requests at once.
    pub(in crate::grpc) streams: u32,
}

/// Speaks HTTP/2 on every connection until `leaving`, then until the last request has been answered.
pub(in crate::grpc) async fn serve(
    incoming: impl Stream<Item = io::Result<Channel>>,
    stack: Stack,
    limits: Http2Limits,
    tracker: &TaskTracker,
    leaving: CancellationToken,
    cut_off: CancellationToken,
) {
    let settings = settings(limits.streams, tracker);
    // Beside the app's tracker: whoever serves waits for its own connections only.
    let connections = TaskTracker::new();
    let mut incoming = Box::pin(incoming.take_until(leaving.cancelled()));
    while let Some(channel) = incoming.next().await {
        let Ok(mut channel) = channel else { continue };
        let cycles = channel.in_poll_cycles();
        let calls = ConnectionService { stack: stack.clone(), peer: channel.peer() };
        let connection = settings.serve_connection(TokioIo::new(Prompt::within(limits.preface, channel)), calls);
        let (leaving, cut_off) = (leaving.clone(), cut_off.clone());
        let counted = connections.token();
        tracker.spawn(async move {
            let _counted = counted;
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                biased;
                () = cut_off.cancelled() => return,
                ended = cycles.run(connection.as_mut()) => ended,
                () = leaving.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    match cut_off.run_until_cancelled(cycles.run(connection)).await {
                        Some(ended) => ended,
                        None => return,
                    }
                }
            };
            // Anybody can break a connection: not worth a line each.
            if let Err(error) = ended {
                debug!(error = &error as &dyn std::error::Error, "a connection failed");
            }
        });
    }
    // Order: the port is free, and refuses, before the last request has been answered.
    drop(incoming);
    connections.close();
    connections.wait().await;
}

fn settings(streams: u32, tracker: &TaskTracker) -> http2::Builder<AtOnce> {
    let mut settings = http2::Builder::new(AtOnce(tracker.clone()));
    settings
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // Reset before we looked at them: as many as a client may have open, who may leave all at once. More is an attack
        // (CVE-2023-44487).
        .max_pending_accept_reset_streams(streams as usize)
        // gRPC has no use for it, and a value that changes every second is never in the peer's table.
        .auto_date_header(false);
    settings
}

/// Does at once what can be done at once; what has to wait becomes a task.
///
/// A hit is done then: HTTP/2 has the reply before the connection's task looks at the next request, without a task for
/// it, which another thread might take.
#[derive(Clone, Debug)]
struct AtOnce(TaskTracker);

impl<F> Executor<F> for AtOnce
where
    F: Future<Output = ()> + Unpin + Send + 'static,
{
    fn execute(&self, mut request: F) {
        // What waits is polled again by its task, and tells whom to wake then.
        if Pin::new(&mut request).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.0.spawn(request);
        }
    }
}

/// A connection's requests.
#[derive(Debug)]
struct ConnectionService {
    stack: Stack,
    peer: Option<Peer>,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Answering<Incoming>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        self.stack.ask(request)
    }
}
