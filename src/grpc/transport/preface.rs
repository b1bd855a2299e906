//! The first bytes of HTTP/2 have to arrive in time: silent connections would use up the limit of connections.
//!
//! hyper checks whether a peer is alive only once it has these bytes. Above TLS, because a handshake has its own time
//! limit and may be followed by silence.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// The preface of a client (RFC 9113, section 3.4). hyper checks its content.
const PREFACE_BYTES: usize = 24;

/// A stream that fails unless the preface arrives in time.
#[derive(Debug)]
pub struct Prompt<S> {
    stream: S,
    /// None once the preface is there.
    awaited: Option<Awaited>,
}

#[derive(Debug)]
struct Awaited {
    bytes: usize,
    until: Pin<Box<Sleep>>,
}

impl<S> Prompt<S> {
    /// The peer has this time from now on.
    pub fn within(time: Duration, stream: S) -> Self {
        Self { stream, awaited: Some(Awaited { bytes: PREFACE_BYTES, until: Box::pin(sleep(time)) }) }
    }
}

impl Awaited {
    /// Fails a read that still waits when the time has passed.
    fn unless_late(&mut self, read: Poll<io::Result<()>>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if read.is_pending() && self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(awaited) = &mut this.awaited else { return read };
        awaited.bytes = awaited.bytes.saturating_sub(buffer.filled().len() - before);
        if awaited.bytes == 0 {
            this.awaited = None;
            return read;
        }
        awaited.unless_late(read, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_begins_in_time_may_be_silent_afterwards() {
        let (mut peer, stream) = duplex(64);
        let mut prompt = Prompt::within(TIME, stream);
        peer.write_all(&[0; PREFACE_BYTES]).await.unwrap();
        prompt.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        let (said, read) = tokio::join!(
            async {
                sleep(TIME * 100).await;
                peer.write_all(&[7]).await
            },
            prompt.read_u8()
        );
        assert!(said.is_ok());
        assert_eq!(read.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_single_bytes_now_and_then_are_ended() {
        for bytes in [0, 1, PREFACE_BYTES - 1] {
            let (mut peer, stream) = duplex(64);
            let mut prompt = Prompt::within(TIME, stream);
            let trickling = async {
                for _ in 0..bytes {
                    peer.write_all(&[0]).await.unwrap();
                    sleep(TIME / 30).await;
                }
                std::future::pending::<()>().await
            };
            let mut taken = [0; PREFACE_BYTES];
            let error = tokio::select! {
                read = prompt.read_exact(&mut taken) => read.unwrap_err(),
                () = trickling => unreachable!(),
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{bytes}");
        }
    }
}
