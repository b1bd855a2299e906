//! Every call has an id, and every answer says it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::grpc::{
    answer::{Answer, CallService},
    call::Call,
    request_id::RequestId,
};

/// Puts a [`RequestIdService`] above a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestIdLayer;

/// Gives calls their id.
#[derive(Clone, Debug)]
pub(crate) struct RequestIdService<S> {
    inner: S,
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestIdService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestIdService { inner }
    }
}

impl<B, S: CallService<B>> Service<Call<B>> for RequestIdService<S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = RequestIdFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<B>) -> Self::Future {
        let id = RequestId::of(call.headers());
        call.id = id.clone();
        RequestIdFuture { inner: self.inner.call(call), id }
    }
}

pin_project! {
    /// The answer of the service below, with the id.
    #[derive(Debug)]
    pub(crate) struct RequestIdFuture<F> {
        #[pin]
        inner: F,
        id: RequestId,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for RequestIdFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut answer) = ready!(this.inner.poll(context));
        answer.id = std::mem::take(this.id);
        Poll::Ready(Ok(answer))
    }
}
