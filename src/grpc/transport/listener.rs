//! Accepts connections, up to a limit, and ends those whose peer has stopped reading.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tracing::warn;

/// Before accepting again after a failure, which is nearly always a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections: usize,
    /// How long a peer may read nothing.
    pub write_stall: Duration,
}

/// The connections of a listener, until the stream is dropped.
pub fn incoming(listener: TcpListener, limits: ConnectionLimits) -> impl Stream<Item = io::Result<Connection>> {
    let permits = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    stream::unfold((listener, permits), move |(listener, permits)| async move {
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        let stream = accept(&listener).await;
        let connection = Connection { stream, stalled: None, stall_max: limits.write_stall, _permit: permit };
        Some((Ok(connection), (listener, permits)))
    })
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A reply is several small writes: waiting for acknowledgements between them costs 40 ms.
                if let Err(error) = stream.set_nodelay(true) {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "TCP_NODELAY not set; replies on this connection may be delayed"
                    );
                }
                return stream;
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "accepting a connection failed; trying again");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Counts the connections of a server.
    pub connection: u64,
    /// The one URI in its certificate.
    pub uri: Option<Arc<str>>,
}

/// An accepted connection.
pub struct Connection {
    stream: TcpStream,
    /// Runs while the peer reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    stall_max: Duration,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("stalled", &self.stalled.is_some()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Judges a write's result: one that has been pending for too long fails.
    fn unless_stalled<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stall_max)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
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

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, pin::pin};

    use futures::{FutureExt as _, StreamExt as _};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits { connections: 1, write_stall: Duration::from_millis(50) };

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn beyond_the_limit_connections_wait_until_one_ends() {
        let (listener, address) = listen().await;
        let mut incoming = pin!(incoming(listener, LIMITS));
        let _clients = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());

        let first = incoming.next().await.unwrap().unwrap();
        assert!(incoming.next().now_or_never().is_none());
        drop(first);
        assert!(incoming.next().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_loses_its_connection() {
        let (listener, address) = listen().await;
        let mut incoming = pin!(incoming(listener, LIMITS));
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut connection = incoming.next().await.unwrap().unwrap();

        let error = connection.write_all(&vec![0; 64 * 1024 * 1024]).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
