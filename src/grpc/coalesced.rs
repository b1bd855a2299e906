//! One write for all that HTTP/2 writes in one turn.
//!
//! h2 makes one `writev` per DATA frame, and one more call for the trailers behind it (hyperium/h2 issue
//! 902): most of what a hit costs. What it writes is therefore held, up to [`BYTES_MAX`], until the
//! connection's task has its next turn. h2 begins every turn by reading, so that is where it is sent; a
//! flush only asks for that turn, once for what is new. Other requests of the connection that are ready
//! meanwhile come along in the same write.
//!
//! h2 also reads between the requests that it hands out in one turn. Whoever answers them at once therefore
//! says when a turn begins ([`Turns`]), or each reply would be a write.
//!
//! Invariant: what is held is on its way without another wish of h2's. Either a turn has been asked for,
//! or the stream has been tried and wakes the task when it takes more. Only for h2, and for TLS between
//! the two: a protocol that does not read in every turn would wait for ever. To be deleted when h2 does
//! this itself; `server.coalesce_writes = false` does without.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Held at most: seven full frames. With half of that a call carries three replies of 16 KiB; what is larger
/// than this comes from the kernel anew each time, since malloc keeps none of it.
const BYTES_MAX: usize = 120 * 1024;
/// A buffer is given back when less than this share of it was needed, so that idle connections hold none.
const NEEDED_SHARE: usize = 4;

/// A stream whose writes wait for the end of the turn.
#[derive(Debug)]
pub struct Coalesced<S> {
    stream: S,
    /// Written by HTTP/2 and not sent, but for the first `sent` bytes.
    held: Vec<u8>,
    sent: usize,
    /// Something is held that no turn was asked for.
    is_new: bool,
    /// 0: nothing is held, every call goes straight through.
    bytes_max: usize,
    /// Who says when a turn begins; none: every read does.
    turns: Option<Turns>,
}

/// Says that a turn begins: set before the connection is polled, taken by the first read. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<AtomicBool>);

impl Turns {
    /// Runs what reads and writes: a turn begins with each poll of it.
    pub async fn taken_by<F: Future>(&self, mut connection: Pin<&mut F>) -> F::Output {
        poll_fn(|context| {
            // Set and taken by one task.
            self.0.store(true, Relaxed);
            connection.as_mut().poll(context)
        })
        .await
    }

    fn begins(&self) -> bool {
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

impl<S> Coalesced<S> {
    /// Holds back what is written to `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), sent: 0, is_new: false, bytes_max: BYTES_MAX, turns: None }
    }

    /// Holds back nothing.
    pub fn switched_off(stream: S) -> Self {
        Self { bytes_max: 0, ..Self::new(stream) }
    }

    /// From now on a turn begins when that is said, and not with every read.
    pub fn in_turns(&mut self) -> Turns {
        self.turns.insert(Turns::default()).clone()
    }

    fn unsent(&self) -> usize {
        self.held.len() - self.sent
    }

    fn hold(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let more = length(slices);
        let wanted = (self.held.len() + more).next_power_of_two().min(self.bytes_max);
        self.held.reserve_exact(wanted.saturating_sub(self.held.len()));
        slices.iter().for_each(|slice| self.held.extend_from_slice(slice));
        self.is_new = true;
        more
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    /// Sends all that is held.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent() > 0 {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        if self.held.len() < self.held.capacity() / NEEDED_SHARE {
            self.held = Vec::new();
        }
        self.held.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A peer that takes nothing may still send, and has to if it waits for us to read.
        if this.turns.as_ref().is_none_or(Turns::begins)
            && let Poll::Ready(Err(error)) = this.poll_send(context)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let more = length(slices);
        if this.held.len() + more > this.bytes_max {
            ready!(this.poll_send(context))?;
        }
        if more > this.bytes_max {
            return Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        }
        Poll::Ready(Ok(this.hold(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes_max > 0 || self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unsent() == 0 {
            return Pin::new(&mut this.stream).poll_flush(context);
        }
        // Not for what a stream does not take: it wakes the task itself, and asking again would spin.
        if std::mem::take(&mut this.is_new) {
            context.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

/// For whoever serves with tonic's transport, as the benchmark's echo does.
impl<S: Connected> Connected for Coalesced<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

fn length(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}

#[cfg(test)]
mod tests;
