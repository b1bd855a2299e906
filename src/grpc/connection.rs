//! Connections: how many at once, who owns them, and what ends one whose peer has stopped reading.
//!
//! tonic runs each connection in a task of its own that nobody could wait for or stop. A connection
//! therefore carries a token of the app's tracker, which waits until the last one is gone, and ends
//! with an error once it is told to close: the task that serves it then ends too.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, Stream, future::BoxFuture, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tonic::transport::server::Connected;
use tracing::warn;

/// Connections at once: beyond it they wait in the kernel's queue. Each may hold some 100 KiB.
const CONNECTIONS_MAX: usize = 1000;
/// A peer that takes nothing for so long is gone or hostile; what is buffered for it is freed.
const WRITE_STALL_MAX: Duration = Duration::from_secs(15);
/// Before accepting again after a failure, which is nearly always a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The connections of a listener, until the stream is dropped. All are closed when `closing` is cancelled.
pub fn incoming(
    listener: TcpListener,
    tracker: TaskTracker,
    closing: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    stream::unfold((listener, places), move |(listener, places)| {
        let (tracked, closing) = (tracker.token(), closing.child_token());
        async move {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            let stream = accept(&listener).await;
            let connection = Connection {
                peer: stream.peer_addr().ok(),
                stream,
                closing: closing.cancelled_owned().boxed(),
                stalled: None,
                _place: place,
                _tracked: tracked,
            };
            Some((Ok(connection), (listener, places)))
        }
    })
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A reply is several small writes: waiting for acknowledgements between them costs 40 ms.
                if let Err(error) = stream.set_nodelay(true) {
                    warn!(error = &error as &dyn std::error::Error, "TCP_NODELAY refused");
                }
                return stream;
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// An accepted connection.
pub struct Connection {
    stream: TcpStream,
    peer: Option<SocketAddr>,
    closing: BoxFuture<'static, ()>,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
    _tracked: TaskTrackerToken,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("stalled", &self.stalled.is_some()).finish_non_exhaustive()
    }
}

impl Connection {
    fn poll_closing(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.closing.as_mut().poll(context).map(|()| io::ErrorKind::ConnectionAborted.into())
    }

    /// Judges a write's result: one that has been pending for too long fails.
    fn unless_stalled<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        // While it cannot write, HTTP/2 may not read either.
        if let Poll::Ready(error) = self.poll_closing(context) {
            return Poll::Ready(Err(error));
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL_MAX)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(error) = this.poll_closing(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.unless_stalled(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.unless_stalled(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Option<SocketAddr>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.peer
    }
}
