//! The whole message of a call, before any work is done for it.
//!
//! Only for methods whose requests are one message. Reflection and unknown methods pass with their message on its way:
//! a reflection client keeps its side open.
//!
//! A message that is there together with its headers takes no slot and no future of its own. Any other takes a slot
//! ([`Slots`]) until it is there, and has a limited time. The slots count the call's own bytes, too: a stream without a
//! message costs several KiB. A message is bounded in bytes from its prefix on, and a second one is refused.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use http::HeaderMap;
use http_body::Body;
use tokio::time::{Instant, sleep_until};
use tower::{BoxError, Layer, Service};

use self::arriving::Arriving;
use crate::grpc::{
    answer::{Answer, CallService, ReadyOr, answered},
    call::{Call, Message},
    refusal::Refusal,
    slots::{Loses, Lost, Slot, Slots},
};

mod arriving;

/// What the calls of all connections may hold together while their messages are on their way.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// So many of the largest messages may be on their way on one connection.
const CONNECTION_MESSAGES_MAX: usize = 16;
/// A stream, its task and the usual headers.
const CALL_BYTES: usize = 4 * 1024;

/// Slots for messages of so many bytes at most, on connections with so many streams.
#[must_use]
pub(crate) fn slots(message_bytes_max: usize, streams: u32) -> Arc<Slots> {
    Slots::new(Loses::Oldest, CONNECTION_MESSAGES_MAX * message_bytes_max + streams as usize * CALL_BYTES, BYTES_MAX)
}

/// Puts a [`ReceiveService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveLayer {
    /// A message has no more bytes than this.
    pub(crate) bytes_max: usize,
    /// A message is there within this time, or within the call's deadline if that is sooner.
    pub(crate) arrival_max: Duration,
    pub(crate) slots: Arc<Slots>,
    /// The same for health, which clients without credentials may call: in calls.
    pub(crate) health_slots: Arc<Slots>,
}

impl ReceiveLayer {
    fn slot<B>(&self, call: &Call<B>) -> Option<(Slot, Lost)> {
        match call.method.is_ours() {
            true => Some(self.slots.take(&call.peer)),
            false => self.health_slots.admit(&call.peer, 1),
        }
    }
}

/// Collects messages for the service below.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveService<S> {
    layer: ReceiveLayer,
    inner: S,
}

impl<S> Layer<S> for ReceiveLayer {
    type Service = ReceiveService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReceiveService { layer: self.clone(), inner }
    }
}

impl<B, S> Service<Call<B>> for ReceiveService<S>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    S: CallService<B> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = ReadyOr<Either<S::Future, BoxFuture<'static, Result<Answer, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<B>) -> Self::Future {
        let received = |inner| Either::Right(Either::Left(inner));
        if !call.method.has_one_message() {
            return received(self.inner.call(call));
        }
        let Message::Arriving(body) = call.message else { return received(self.inner.call(call)) };
        call.message = Message::Whole(Bytes::new());
        let mut message = Arriving::new(body, self.layer.bytes_max);
        // Without a waker: a message that is not there yet is asked again by the future.
        match message.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(bytes)) => {
                call.message = Message::Whole(bytes);
                received(self.inner.call(call))
            }
            Poll::Ready(Err(refusal)) => answered(refusal),
            Poll::Pending => {
                let arrival = Instant::now() + self.layer.arrival_max;
                let until = call.deadline.map_or(arrival, |deadline| deadline.min(arrival));
                let Some(slot) = self.layer.slot(&call) else { return answered(Refusal::Overloaded) };
                Either::Right(Either::Right(later(self.inner.clone(), call, message, slot, until).boxed()))
            }
        }
    }
}

/// The answer to a call whose message is on its way.
async fn later<B, S>(
    mut inner: S,
    mut call: Call<B>,
    mut message: Arriving<B>,
    (slot, lost): (Slot, Lost),
    until: Instant,
) -> Result<Answer, Infallible>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    S: CallService<B>,
{
    let (is_ours, own_bytes) = (call.method.is_ours(), CALL_BYTES + header_bytes(call.headers()));
    let receive = poll_fn(|context| {
        let polled = message.poll(context);
        if is_ours {
            slot.hold(own_bytes + message.received().len());
        }
        polled
    });
    let received = tokio::select! {
        biased;
        received = receive => received,
        _ = lost => Err(Refusal::Overloaded),
        () = sleep_until(until) => Err(Refusal::DeadlineExceeded),
    };
    drop((message, slot));
    match received {
        Ok(bytes) => {
            call.message = Message::Whole(bytes);
            inner.call(call).await
        }
        Err(refusal) => Ok(refusal.into()),
    }
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests;
