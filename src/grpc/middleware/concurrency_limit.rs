//! How many requests are worked on at once, in the whole process.
//!
//! A Get keeps its permit until it has to wait: it then waits for a load, and loads have limits of their own. A flood
//! of misses must not keep hits of other tiers out, which take microseconds. Other methods keep theirs until the
//! response head. tonic's own limit is per connection and outside of the metrics.

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
    answer::{Answer, CallService, ReadyOr, answered},
    call::Call,
    method::Method,
    refusal::Refusal,
};

/// Puts a [`ConcurrencyLimitService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimitLayer {
    permits: Arc<Semaphore>,
}

/// Refuses calls while all permits are in use.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimitService<S> {
    permits: Arc<Semaphore>,
    inner: S,
}

impl ConcurrencyLimitLayer {
    /// So many permits.
    #[must_use]
    pub(crate) fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))) }
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimitService { permits: Arc::clone(&self.permits), inner }
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
        // A limit of their own for the others would stand here.
        let permit = match call.method.is_ours().then(|| Arc::clone(&self.permits).try_acquire_owned()).transpose() {
            Ok(permit) => permit,
            Err(_) => return answered(Refusal::Overloaded),
        };
        let until_it_waits = call.method == Method::Get;
        Either::Right(ConcurrencyLimitFuture { inner: self.inner.call(call), permit, until_it_waits })
    }
}

pin_project! {
    /// The answer of the service below.
    #[derive(Debug)]
    pub(crate) struct ConcurrencyLimitFuture<F> {
        #[pin]
        inner: F,
        permit: Option<OwnedSemaphorePermit>,
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
        polled
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
        let layer = ConcurrencyLimitLayer::new(1);
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
        let mut service = ConcurrencyLimitLayer::new(0).layer(waiting());
        for method in [Method::Health, Method::Reflection, Method::Unknown] {
            assert!(poll(&mut service.call(testing::call(method, &[]))).is_pending(), "{method:?}");
        }
    }

    #[test]
    fn a_get_that_waits_gives_its_permit_back_and_others_do_not() {
        for (method, left) in [(Method::Get, 1), (Method::Invalidate, 0), (Method::Stats, 0), (Method::Warm, 0)] {
            let layer = ConcurrencyLimitLayer::new(1);
            let mut waiting = layer.layer(waiting()).call(testing::call(method, &[]));
            assert!(poll(&mut waiting).is_pending());
            assert_eq!(layer.permits.available_permits(), left, "{method:?}");
        }
    }
}
