//! A stream that reads little until a request has been admitted on it.
//!
//! h2 reads all that is there before it answers, and again between the requests that it hands out. A stranger's
//! connection would hold 256 streams (600 KiB), and keep a thread busy with refusals for a second.
//!
//! Invariant: what one poll cycle has read is answered before more is read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{connections::ConnectionPlace, write_coalescing::PollCycles};

/// In one poll cycle: some requests.
const READ_BYTES: usize = 512;

/// A stream that may be a stranger's.
#[derive(Debug)]
pub(super) struct Stranger<S> {
    stream: S,
    place: Arc<ConnectionPlace>,
    cycles: PollCycles,
    /// The last cycle in which something was read.
    read_in: u64,
}

impl<S> Stranger<S> {
    pub(super) fn new(stream: S, place: Arc<ConnectionPlace>, cycles: PollCycles) -> Self {
        Self { stream, place, cycles, read_in: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stranger<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.place.is_admitted() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        // The end of the place wakes the task.
        if this.place.is_lost() {
            return Poll::Pending;
        }
        let cycle = this.cycles.number();
        if this.read_in == cycle {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = buffer.remaining().min(READ_BYTES);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.stream).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        this.read_in = cycle;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stranger<S> {
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
