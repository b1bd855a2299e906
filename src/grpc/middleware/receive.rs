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
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service};

use self::arriving::Arriving;
use crate::grpc::{
    answer::{Answer, CallService},
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
    type Future = ReceiveFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<B>) -> Self::Future {
        if !call.method.is_ours() {
            return ReceiveFuture::Received { inner: self.inner.call(call) };
        }
        let Message::Arriving(body) = call.message else {
            return ReceiveFuture::Received { inner: self.inner.call(call) };
        };
        call.message = Message::Whole(Bytes::new());
        let mut message = Arriving::new(body, self.layer.bytes_max);
        // Without a waker: a message that is not there yet is asked again by the future.
        match message.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(bytes)) => {
                call.message = Message::Whole(bytes);
                ReceiveFuture::Received { inner: self.inner.call(call) }
            }
            Poll::Ready(Err(refusal)) => ReceiveFuture::Refused { refusal: Some(refusal) },
            Poll::Pending => {
                let arrival = Instant::now() + self.layer.arrival_max;
                let until = call.deadline.map_or(arrival, |deadline| deadline.min(arrival));
                let slots = Arc::clone(&self.layer.slots);
                ReceiveFuture::Waiting { answer: later(self.inner.clone(), call, message, slots, until).boxed() }
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

pin_project! {
    /// The answer of the service below once the message is there, or the refusal.
    #[project = Receiving]
    pub(crate) enum ReceiveFuture<F> {
        Received { #[pin] inner: F },
        Waiting { answer: BoxFuture<'static, Result<Answer, Infallible>> },
        Refused { refusal: Option<Refusal> },
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for ReceiveFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Receiving::Received { inner } => inner.poll(context),
            Receiving::Waiting { answer } => answer.as_mut().poll(context),
            Receiving::Refused { refusal } => {
                Poll::Ready(Ok(refusal.take().expect("a future that has ended is not polled again").into()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
