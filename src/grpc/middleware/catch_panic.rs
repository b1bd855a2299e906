//! A panic fails its own request and nothing else.
//!
//! hyper would close the whole connection, and with it end other requests. The panic hook has logged the panic's own
//! message; the caller gets the request's id.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::Either;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::grpc::{
    answer::{Answer, CallService, ReadyOr, answered},
    call::Call,
    refusal::Refusal,
};

/// Puts a [`CatchPanicService`] above a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchPanicLayer;

/// Turns panics of the service below into refusals.
#[derive(Clone, Debug)]
pub(crate) struct CatchPanicService<S> {
    inner: S,
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanicService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanicService { inner }
    }
}

// Unwind safety: a future that has panicked is never polled again. The state that it shares with others (the cache)
// keeps its invariants by guards, and no lock turns into an error by a panic.

impl<B, S: CallService<B>> Service<Call<B>> for CatchPanicService<S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = ReadyOr<CatchPanicFuture<S::Future>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(call))) {
            Ok(inner) => Either::Right(CatchPanicFuture { inner }),
            Err(_) => answered(Refusal::Panicked),
        }
    }
}

pin_project! {
    /// The answer of the service below, unless it panics.
    #[derive(Debug)]
    pub(crate) struct CatchPanicFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for CatchPanicFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.project().inner.poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(Ok(Refusal::Panicked.into())))
    }
}
