//! How many requests are worked on at once, in the whole process.
//!
//! A Get keeps its permit until it has to wait: it then waits for a load, and loads have limits of their own. A flood
//! of misses must not keep hits of other tiers out, which take microseconds. Other methods keep theirs until the
//! response head. tonic's own limit is per connection and outside of the metrics.
//!
//! Health, reflection and unknown methods need no permit, so that they are answered when all are taken. They take a
//! slot ([`Slots`]) until their response has ended, and lose it to others if they stay open.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use crate::grpc::{
    answer::{Answer, CallService, OpenStream, ReadyOr, Until, answered},
    call::Call,
    method::Method,
    refusal::Refusal,
    slots::{Loses, Lost, Slot, Slots},
};

/// Open calls of one connection, as a share of all: several clients behind one proxy share a connection.
const CONNECTION_SHARE: usize = 8;
/// Calls of reflection, as a share of all: such a stream can hold 500 KiB that its peer does not read.
const REFLECTION_SHARE: usize = 16;

/// Puts a [`ConcurrencyLimitService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimitLayer {
    permits: Arc<Semaphore>,
    open: Arc<Slots>,
    reflections: Arc<Slots>,
}

/// Refuses calls while all permits are in use.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimitService<S> {
    limits: ConcurrencyLimitLayer,
    inner: S,
}

/// Slots for so many calls, of which each counts as one.
#[must_use]
pub(crate) fn open_calls(max: usize) -> Arc<Slots> {
    Slots::new(Loses::Newest, max / CONNECTION_SHARE, max)
}

impl ConcurrencyLimitLayer {
    /// So many permits, and so many open calls without one.
    #[must_use]
    pub(crate) fn new(permits: usize, open_max: usize) -> Self {
        let reflections_max = open_max / REFLECTION_SHARE;
        Self {
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            open: open_calls(open_max),
            reflections: Slots::new(Loses::Newest, reflections_max.div_ceil(2), reflections_max),
        }
    }

    fn slot<B>(&self, call: &Call<B>) -> Option<(Slot, Lost)> {
        let slots = if call.method == Method::Reflection { &self.reflections } else { &self.open };
        slots.admit(&call.peer, 1)
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimitService { limits: self.clone(), inner }
    }
}

impl<B, S: CallService<B>> Service<Call<B>> for ConcurrencyLimitService<S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = ReadyOr<ConcurrencyLimitFuture<S::Future>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        let (permit, slot) = match call.method.is_ours() {
            true => match Arc::clone(&self.limits.permits).try_acquire_owned() {
                Ok(permit) => (Some(permit), None),
                Err(_) => return answered(Refusal::Overloaded),
            },
            false => match self.limits.slot(&call) {
                Some(slot) => (None, Some(slot)),
                None => return answered(Refusal::Overloaded),
            },
        };
        let until_it_waits = call.method == Method::Get;
        Either::Right(ConcurrencyLimitFuture { inner: self.inner.call(call), permit, slot, until_it_waits })
    }
}

pin_project! {
    /// The answer of the service below.
    #[derive(Debug)]
    pub(crate) struct ConcurrencyLimitFuture<F> {
        #[pin]
        inner: F,
        permit: Option<OwnedSemaphorePermit>,
        slot: Option<(Slot, Lost)>,
        until_it_waits: bool,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for ConcurrencyLimitFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.inner.poll(context);
        if *this.until_it_waits || polled.is_ready() {
            *this.permit = None;
        }
        match (polled, this.slot.take()) {
            (Poll::Ready(Ok(mut answer)), Some(slot)) => {
                if answer.is_encoded() {
                    let deadline = match answer.until.take() {
                        Some(Until::Deadline(at)) => Some(at),
                        _ => None,
                    };
                    answer.until = Some(Until::Open(OpenStream { slot, deadline, drain: None }));
                }
                Poll::Ready(Ok(answer))
            }
            (Poll::Pending, Some((slot, mut lost))) => {
                if Pin::new(&mut lost).poll(context).is_ready() {
                    return Poll::Ready(Ok(Refusal::Overloaded.into()));
                }
                *this.slot = Some((slot, lost));
                Poll::Pending
            }
            (polled, None) => polled,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Pending, pending},
        task::Waker,
    };

    use tower::{service_fn, util::ServiceFn};

    use super::*;
    use crate::grpc::{
        answer::Content,
        testing::{self, TestBody},
    };

    type Waiting = Pending<Result<Answer, Infallible>>;

    fn waiting() -> ServiceFn<fn(Call<TestBody>) -> Waiting> {
        service_fn(|_| pending())
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_refused(polled: Poll<Result<Answer, Infallible>>) -> bool {
        matches!(polled, Poll::Ready(Ok(Answer { content: Content::Refused(Refusal::Overloaded), .. })))
    }

    #[test]
    fn beyond_the_limit_requests_are_refused_until_one_ends() {
        let layer = ConcurrencyLimitLayer::new(1, 64);
        let mut service = layer.layer(waiting());
        let mut first = service.call(testing::call(Method::Warm, &[]));
        assert!(poll(&mut first).is_pending());
        assert!(is_refused(poll(&mut service.call(testing::call(Method::Get, &[])))));
        drop(first);
        assert!(poll(&mut service.call(testing::call(Method::Get, &[]))).is_pending());
        assert_eq!(layer.permits.available_permits(), 1);
    }

    #[test]
    fn health_and_reflection_are_answered_when_full() {
        let mut service = ConcurrencyLimitLayer::new(0, 64).layer(waiting());
        for method in [Method::Health, Method::Reflection, Method::Unknown] {
            assert!(poll(&mut service.call(testing::call(method, &[]))).is_pending(), "{method:?}");
        }
    }

    #[test]
    fn calls_without_a_permit_are_refused_beyond_their_share_and_give_their_slots_back() {
        for (method, share) in [(Method::Health, 8), (Method::Unknown, 8), (Method::Reflection, 2)] {
            let mut service = ConcurrencyLimitLayer::new(0, 64).layer(waiting());
            let mut open: Vec<_> = (0..share).map(|_| service.call(testing::call(method, &[]))).collect();
            assert!(open.iter_mut().all(|call| poll(call).is_pending()), "{method:?}");
            assert!(is_refused(poll(&mut service.call(testing::call(method, &[])))), "{method:?}");
            drop(open.pop());
            assert!(poll(&mut service.call(testing::call(method, &[]))).is_pending(), "{method:?}");
        }
    }

    #[test]
    fn a_get_that_waits_gives_its_permit_back_and_others_do_not() {
        for (method, left) in [(Method::Get, 1), (Method::Invalidate, 0), (Method::Stats, 0), (Method::Warm, 0)] {
            let layer = ConcurrencyLimitLayer::new(1, 64);
            let mut waiting = layer.layer(waiting()).call(testing::call(method, &[]));
            assert!(poll(&mut waiting).is_pending());
            assert_eq!(layer.permits.available_permits(), left, "{method:?}");
        }
    }
}
