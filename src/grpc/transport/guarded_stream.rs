//! The stream of a connection that has yet to show that it is a caller's: its first bytes have to arrive in time, and it
//! is read little at a time until a request has been admitted.
//!
//! The preface of HTTP/2 has to arrive in time, because silent connections would use up the limit of connections. hyper
//! checks whether a peer is alive only once it has these bytes. Above TLS, because a handshake has its own time limit and
//! may be followed by silence.
//!
//! h2 reads all that is there before it answers, and again between the requests that it hands out. An unauthenticated
//! connection would hold 256 streams (600 KiB), and keep a thread busy with refusals for a second.
//!
//! Invariant: until a request has been admitted, what one poll cycle has read is answered before more is read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{connections::ConnectionPlace, write_coalescing::PollCycles};

/// The preface of a client (RFC 9113, section 3.4). hyper checks its content.
const PREFACE_BYTES: usize = 24;
/// In one poll cycle: some requests.
const READ_BYTES: usize = 512;

/// A stream below HTTP/2.
#[derive(Debug)]
pub(super) struct GuardedStream<S> {
    stream: S,
    place: Arc<ConnectionPlace>,
    cycles: PollCycles,
    /// The last cycle in which something was read.
    read_in: u64,
    /// None once it is there.
    preface: Option<AwaitedPreface>,
}

#[derive(Debug)]
struct AwaitedPreface {
    bytes: usize,
    until: Pin<Box<Sleep>>,
}

impl<S> GuardedStream<S> {
    /// The preface has `preface_max` from now on.
    pub(super) fn new(stream: S, place: Arc<ConnectionPlace>, cycles: PollCycles, preface_max: Duration) -> Self {
        let preface = AwaitedPreface { bytes: PREFACE_BYTES, until: Box::pin(sleep(preface_max)) };
        Self { stream, place, cycles, read_in: 0, preface: Some(preface) }
    }
}

impl AwaitedPreface {
    /// Whether it is there with so many further bytes; fails if they are late.
    fn is_there(&mut self, more: usize, context: &mut Context<'_>) -> io::Result<bool> {
        self.bytes = self.bytes.saturating_sub(more);
        if more == 0 && self.until.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(self.bytes == 0)
    }
}

impl<S: AsyncRead + Unpin> GuardedStream<S> {
    /// Reads a part that is soon answered.
    fn poll_read_little(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The end of the place wakes the task.
        if self.place.is_lost() {
            return Poll::Pending;
        }
        let cycle = self.cycles.number();
        if self.read_in == cycle {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = buffer.remaining().min(READ_BYTES);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.read_in = cycle;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.place.is_admitted() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let before = buffer.filled().len();
        let read = this.poll_read_little(context, buffer);
        let Some(preface) = &mut this.preface else { return read };
        let more = buffer.filled().len() - before;
        if read.is_ready() && more == 0 {
            // The end of the stream, or a failure.
            return read;
        }
        if preface.is_there(more, context)? {
            this.preface = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
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

/// Sends the input in pieces, whose size its first byte says, and reads it. All of it arrives, and nothing else.
#[cfg(feature = "mutants")]
pub(crate) async fn read_in_pieces(input: &[u8]) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let Some((size, input)) = input.split_first() else { return };
    let limits =
        super::connections::ConnectionLimits { connections: 1, first_request: Duration::MAX, idle: Duration::MAX };
    let connections =
        super::connections::Connections::new(limits, crate::clock::Clock::system(), &crate::telemetry::Meter::none());
    let place = Arc::new(connections.enter().await);
    let ((mut peer, stream), cycles) = (tokio::io::duplex(2 * READ_BYTES), PollCycles::default());
    let mut stream = GuardedStream::new(stream, place, cycles.clone(), Duration::from_secs(60));
    let sending = async {
        for piece in input.chunks(usize::from(*size).max(1)) {
            peer.write_all(piece).await.expect("it is read");
            tokio::task::yield_now().await;
        }
        drop(peer);
    };
    let mut read = Vec::new();
    let mut reading = std::pin::pin!(stream.read_to_end(&mut read));
    let ((), ended) = tokio::join!(sending, cycles.run(reading.as_mut()));
    ended.expect("a peer that is in time");
    assert_eq!(read, input);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::{
        super::connections::{ConnectionLimits, Connections},
        *,
    };
    use crate::{clock::Clock, telemetry::Meter};

    const TIME: Duration = Duration::from_secs(10);
    const LIMITS: ConnectionLimits = ConnectionLimits { connections: 1, first_request: TIME, idle: TIME };

    /// Two ends of a connection, with its cycles.
    async fn connected() -> (DuplexStream, GuardedStream<DuplexStream>, PollCycles) {
        let place = Arc::new(Connections::new(LIMITS, Clock::system(), &Meter::none()).enter().await);
        let ((peer, stream), cycles) = (duplex(4 * READ_BYTES), PollCycles::default());
        (peer, GuardedStream::new(stream, place, cycles.clone(), TIME), cycles)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_begins_in_time_may_be_silent_afterwards() {
        let (mut peer, mut stream, cycles) = connected().await;
        peer.write_all(&[0; PREFACE_BYTES]).await.unwrap();
        cycles.run(pin!(stream.read_exact(&mut [0; PREFACE_BYTES]))).await.unwrap();
        let said = async {
            sleep(TIME * 100).await;
            peer.write_all(&[7]).await
        };
        let mut reading = pin!(stream.read_u8());
        let (said, read) = tokio::join!(said, cycles.run(reading.as_mut()));
        assert!(said.is_ok());
        assert_eq!(read.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_single_bytes_now_and_then_are_ended() {
        for bytes in [0, 1, PREFACE_BYTES - 1] {
            let (mut peer, mut stream, cycles) = connected().await;
            let trickling = async {
                for _ in 0..bytes {
                    peer.write_all(&[0]).await.unwrap();
                    sleep(TIME / 30).await;
                }
                std::future::pending::<()>().await
            };
            let mut taken = [0; PREFACE_BYTES];
            let mut reading = pin!(stream.read_exact(&mut taken));
            let error = tokio::select! {
                read = cycles.run(reading.as_mut()) => read.unwrap_err(),
                () = trickling => unreachable!(),
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{bytes}");
        }
    }

    #[tokio::test]
    async fn little_is_read_in_a_cycle_until_a_request_is_admitted() {
        let (mut peer, mut stream, cycles) = connected().await;
        peer.write_all(&[0; 4 * READ_BYTES]).await.unwrap();
        let mut buffer = [0; 4 * READ_BYTES];
        let reading = async {
            let first = stream.read(&mut buffer).await.unwrap();
            let again = futures::poll!(pin!(stream.read(&mut buffer)));
            (first, again.is_pending())
        };
        let read = cycles.run(pin!(reading)).await;
        assert_eq!(read, (READ_BYTES, true), "what was read is answered first");
        stream.place.entry().admit();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3 * READ_BYTES);
    }
}
