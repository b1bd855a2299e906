//! The whole message of a call, before any work is done for it.
//!
//! Only for methods of our contract, whose requests are one message. Health, reflection and unknown methods pass with
//! their message on its way: a reflection client keeps its side open.
//!
//! A message that is there together with its headers takes no slot and no future of its own. Any other takes a slot
//! ([`Slots`]) until it is there, and has a limited time. A message is bounded in bytes from its prefix on, and the
//! bytes of a second one are refused.

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
use http_body::Body;
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service};

use self::arriving::Arriving;
use crate::grpc::{
    answer::{Answer, CallService, ReadyOr, answered},
    call::{Call, Message},
    refusal::Refusal,
};

mod arriving;
mod slots;

pub(crate) use slots::Slots;

/// Puts a [`ReceiveService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveLayer {
    /// A message has no more bytes than this.
    pub(crate) bytes_max: usize,
    /// A message is there within this time, or within the call's deadline if that is sooner.
    pub(crate) arrival_max: Duration,
    pub(crate) slots: Arc<Slots>,
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
    B: Body<Data = Bytes> + Send + Unpin + 'static,
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
        if !call.method.is_ours() {
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
                let slots = Arc::clone(&self.layer.slots);
                Either::Right(Either::Right(later(self.inner.clone(), call, message, slots, until).boxed()))
            }
        }
    }
}

/// The answer to a call whose message is on its way.
async fn later<B, S>(
    mut inner: S,
    mut call: Call<B>,
    mut message: Arriving<B>,
    slots: Arc<Slots>,
    until: Instant,
) -> Result<Answer, Infallible>
where
    B: Body<Data = Bytes> + Unpin,
    S: CallService<B>,
{
    let (slot, lost) = slots.take(call.peer.connection);
    let receive = poll_fn(|context| {
        let polled = message.poll(context);
        slot.hold(message.received().len());
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

#[cfg(test)]
mod tests;
