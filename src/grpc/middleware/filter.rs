//! A check of a call's headers. The service below sees only calls that pass it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::grpc::{
    answer::{Answer, CallService},
    call::Call,
    refusal::Refusal,
};

/// Looks at a call, and may note in it what it has found out.
pub(crate) trait CallFilter {
    fn check<B>(&mut self, call: &mut Call<B>) -> Result<(), Refusal>;
}

/// Puts a [`CallFilter`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct FilterLayer<F>(pub F);

/// A service below a filter.
#[derive(Clone, Debug)]
pub(crate) struct FilterService<F, S> {
    filter: F,
    inner: S,
}

impl<F: Clone, S> Layer<S> for FilterLayer<F> {
    type Service = FilterService<F, S>;

    fn layer(&self, inner: S) -> Self::Service {
        FilterService { filter: self.0.clone(), inner }
    }
}

impl<B, F: CallFilter, S: CallService<B>> Service<Call<B>> for FilterService<F, S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = FilterFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<B>) -> Self::Future {
        match self.filter.check(&mut call) {
            Ok(()) => FilterFuture::Passed { inner: self.inner.call(call) },
            Err(refusal) => FilterFuture::Refused { refusal: Some(refusal) },
        }
    }
}

pin_project! {
    /// The answer of the service below, or the refusal.
    #[project = Filtered]
    #[derive(Debug)]
    pub(crate) enum FilterFuture<F> {
        Passed { #[pin] inner: F },
        Refused { refusal: Option<Refusal> },
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for FilterFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Filtered::Passed { inner } => inner.poll(context),
            Filtered::Refused { refusal } => {
                Poll::Ready(Ok(refusal.take().expect("a future that has ended is not polled again").into()))
            }
        }
    }
}
