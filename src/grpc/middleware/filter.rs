//! A check of a call's headers. The service below sees only calls that pass it.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::Either;
use tower::{Layer, Service};

use crate::grpc::{
    answer::{Answer, CallService, ReadyOr, answered},
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
    type Future = ReadyOr<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<B>) -> Self::Future {
        match self.filter.check(&mut call) {
            Ok(()) => Either::Right(self.inner.call(call)),
            Err(refusal) => answered(refusal),
        }
    }
}
