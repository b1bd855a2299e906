//! One write for all that HTTP/2 writes in one poll cycle, which is one poll of the connection's task.
//!
//! h2 makes one `writev` per DATA frame and another call for the trailers behind it (hyperium/h2 issue
//! 902). These calls were most of the cost of a hit. A stream of ours therefore holds the bytes, up to [`BYTES_MAX`],
//! until the next poll cycle. h2 begins every cycle by reading, so the held bytes are sent there; a flush only wakes
//! the task, once for new bytes. Other requests of the connection that are ready meanwhile share the write.
//!
//! h2 also reads between the requests that it hands out in one cycle. A server that answers them at once therefore
//! says when a cycle begins ([`PollCycles`]), or each reply would be a write.
//!
//! Invariant: held bytes are sent without another call of h2's. Either the task has been woken, or the stream has
//! been tried and wakes the task when it takes more. Only for h2, and for TLS between the two: a protocol that does
//! not read in every cycle would wait for ever. To be deleted when h2 does this itself;
//! `server.coalesce_writes = false` switches it off.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Seven full frames. Half of that would carry only three replies of 16 KiB per call; glibc's malloc maps larger
/// buffers anew each time.
const BYTES_MAX: usize = 120 * 1024;
/// A buffer is freed when less than this share of it was needed, so that idle connections hold none.
const NEEDED_SHARE: usize = 4;

/// A stream whose writes wait for the next poll cycle.
#[derive(Debug)]
pub struct Coalesced<S> {
    stream: S,
    /// Written by HTTP/2; the first `sent` bytes are on their way.
    held: Vec<u8>,
    sent: usize,
    /// Bytes are held for which the task has not been woken.
    is_new: bool,
    /// 0: every call goes straight to the stream.
    bytes_max: usize,
    /// None: every read begins a poll cycle.
    cycles: Option<PollCycles>,
}

/// The begin of poll cycles: set before the connection is polled, cleared by the first read. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct PollCycles(Arc<PollCycle>);

#[derive(Debug, Default)]
struct PollCycle {
    has_begun: AtomicBool,
    number: AtomicU64,
}

impl PollCycles {
    /// Runs the connection: each poll of it begins a cycle.
    pub async fn run<F: Future>(&self, mut connection: Pin<&mut F>) -> F::Output {
        poll_fn(|context| {
            // One task sets and clears it.
            self.0.has_begun.store(true, Relaxed);
            self.0.number.fetch_add(1, Relaxed);
            connection.as_mut().poll(context)
        })
        .await
    }

    /// Counts the cycles from 1.
    pub(super) fn number(&self) -> u64 {
        self.0.number.load(Relaxed)
    }

    fn begins(&self) -> bool {
        self.0.has_begun.load(Relaxed) && self.0.has_begun.swap(false, Relaxed)
    }
}

impl<S> Coalesced<S> {
    /// Holds back writes to `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), sent: 0, is_new: false, bytes_max: BYTES_MAX, cycles: None }
    }

    /// Passes every write on at once.
    pub fn switched_off(stream: S) -> Self {
        Self { bytes_max: 0, ..Self::new(stream) }
    }

    /// Passes every further write on at once.
    pub fn switch_off(&mut self) {
        self.bytes_max = 0;
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// From now on the result begins poll cycles, not every read.
    pub fn in_poll_cycles(&mut self) -> PollCycles {
        self.cycles.insert(PollCycles::default()).clone()
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
    /// Sends all held bytes.
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
        if this.cycles.as_ref().is_none_or(PollCycles::begins)
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
        if this.bytes_max == 0 {
            // Held before it was switched off.
            ready!(this.poll_send(context))?;
        }
        if this.unsent() == 0 {
            return Pin::new(&mut this.stream).poll_flush(context);
        }
        // Only for new bytes: a stream that takes no more wakes the task itself, and waking it here would spin.
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

/// For servers on tonic's transport, such as the benchmark's echo.
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
