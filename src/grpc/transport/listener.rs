//! Accepts connections, and ends those whose peer has stopped reading.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, stream};
use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tracing::{debug, warn};

use super::connections::{ConnectionPlace, Connections};

/// Before accepting again after a failure, which is nearly always a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// A failure that lasts is no news.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The connections of a listener, until the stream is dropped. A peer may read nothing for `stall_max`.
pub fn incoming(
    listener: TcpListener,
    connections: Connections,
    stall_max: Duration,
) -> impl Stream<Item = (Connection, Arc<ConnectionPlace>)> {
    let listening = Listening { listener, connections, warned: None };
    stream::unfold(listening, move |mut listening| async move {
        let stream = listening.accept().await;
        // Only now: a connection yields for a new one that is there.
        let place = Arc::new(listening.connections.enter().await);
        let connection = Connection { stream, stalled: None, stall_max, place: Arc::clone(&place) };
        Some(((connection, place), listening))
    })
}

struct Listening {
    listener: TcpListener,
    connections: Connections,
    warned: Option<Instant>,
}

impl Listening {
    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // A reply is several small writes: waiting for acknowledgements between them costs 40 ms.
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%error, "TCP_NODELAY not set; replies on this connection may be delayed");
                    }
                    return stream;
                }
                Err(error) => {
                    if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
                        self.warned = Some(Instant::now());
                        warn!(error = &error as &dyn std::error::Error, "accepting a connection failed; trying again");
                    }
                    if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) {
                        // It gives a descriptor back.
                        self.connections.make_room();
                    }
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

/// An accepted connection.
pub struct Connection {
    stream: TcpStream,
    /// Runs while the peer reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    stall_max: Duration,
    place: Arc<ConnectionPlace>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("stalled", &self.stalled.is_some()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Waits for the first bytes, and leaves them there. Returns how many of `bytes` there are.
    pub(super) async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(bytes).await
    }

    /// Judges a write's result: one that has been pending for too long fails.
    fn unless_stalled<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.place.is_read();
            }
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| {
            self.place.is_unread();
            Box::pin(sleep(self.stall_max))
        });
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

    use futures::StreamExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::{super::connections::ConnectionLimits, *};
    use crate::{clock::Clock, telemetry::Meter};

    const LIMITS: ConnectionLimits =
        ConnectionLimits { connections: 1, first_request: Duration::from_secs(60), idle: Duration::from_secs(60) };
    const STALL_MAX: Duration = Duration::from_millis(50);

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn connections() -> Connections {
        Connections::new(LIMITS, Clock::system(), &Meter::none())
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_loses_its_connection() {
        let (listener, address) = listen().await;
        let mut incoming = pin!(incoming(listener, connections(), STALL_MAX));
        let _silent = TcpStream::connect(address).await.unwrap();
        let (mut connection, _place) = incoming.next().await.unwrap();

        let error = connection.write_all(&vec![0; 64 * 1024 * 1024]).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
