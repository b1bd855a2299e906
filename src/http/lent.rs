//! A request's body that comes back if nobody has read it to its end.
//!
//! A connection of HTTP/1.1 ends after a reply to a request whose body is unread, and the client that still sends it
//! gets a broken pipe in place of the reply. So a little more is read before such a reply.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::poll_fn;
use http_body::{Body, Frame, SizeHint};
use tokio::{sync::oneshot, time::timeout};

/// The rest of a small body arrives within this, if its sender has not stopped.
const REST_MAX: Duration = Duration::from_secs(1);

/// A body that is returned when it is dropped.
#[derive(Debug)]
pub(super) struct LentBody<B> {
    /// None once it is returned.
    body: Option<B>,
    returns: Option<oneshot::Sender<B>>,
}

/// Where the body comes back.
#[derive(Debug)]
pub(super) struct UnreadBody<B>(oneshot::Receiver<B>);

/// Lends a body.
pub(super) fn lend<B>(body: B) -> (LentBody<B>, UnreadBody<B>) {
    let (returns, unread) = oneshot::channel();
    (LentBody { body: Some(body), returns: Some(returns) }, UnreadBody(unread))
}

impl<B> Drop for LentBody<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(returns)) = (self.body.take(), self.returns.take()) {
            // Nobody may wait for it.
            let _ = returns.send(body);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for LentBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.get_mut().body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Unpin> UnreadBody<B> {
    /// Reads what is left of it, up to so many bytes and for a short time.
    pub(super) async fn discard(mut self, bytes_max: usize) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let reading = async {
            let mut bytes = 0;
            while bytes <= bytes_max && !body.is_end_stream() {
                match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                    Some(Ok(frame)) => bytes += frame.into_data().map_or(0, |data| data.len()),
                    _ => return,
                }
            }
        };
        // It is as well if it is not read whole: the connection ends.
        let _ = timeout(REST_MAX, reading).await;
    }
}
