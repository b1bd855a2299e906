//! Ends the wait for an answer at the call's deadline, and gives the deadline to a stream that comes out of it.
//!
//! A deadline bounds the wait of one caller, never the load that it waits for. A ready answer is given even if the
//! deadline has passed. tonic's own timeout would end the call with CANCELLED, outside of the metrics.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt as _, future::BoxFuture};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::grpc::{
    answer::{Answer, CallService, Until},
    call::Call,
    refusal::Refusal,
};

/// Puts a [`DeadlineService`] above a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadlineLayer;

/// Bounds the answers of the service below.
#[derive(Clone, Debug)]
pub(crate) struct DeadlineService<S> {
    inner: S,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner }
    }
}

impl<B, S: CallService<B>> Service<Call<B>> for DeadlineService<S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        DeadlineFuture { deadline: call.deadline, inner: self.inner.call(call), passed: None }
    }
}

pin_project! {
    /// The answer of the service below, or the refusal.
    pub(crate) struct DeadlineFuture<F> {
        #[pin]
        inner: F,
        deadline: Option<Instant>,
        // Made when the call first has to wait.
        passed: Option<BoxFuture<'static, Refusal>>,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for DeadlineFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let deadline = *this.deadline;
        if let Poll::Ready(Ok(mut answer)) = this.inner.poll(context) {
            if answer.is_encoded() {
                answer.until = deadline.map(Until::Deadline);
            }
            return Poll::Ready(Ok(answer));
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        let passed = this.passed.get_or_insert_with(|| Until::Deadline(deadline).passed().boxed());
        let refusal = ready!(passed.as_mut().poll(context));
        Poll::Ready(Ok(refusal.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::grpc::{
        answer::Content,
        method::Method,
        testing::{self, TestBody},
    };

    async fn answered(service: impl CallService<TestBody>, deadline: Duration) -> Content {
        let mut call = testing::call(Method::Get, &[]);
        call.deadline = Some(Instant::now() + deadline);
        let Ok(answer) = DeadlineLayer.layer(service).oneshot(call).await;
        answer.content
    }

    #[tokio::test]
    async fn a_passed_deadline_is_deadline_exceeded() {
        let began = Instant::now();
        let content = answered(service_fn(|_: Call<TestBody>| pending()), Duration::from_millis(18)).await;
        assert!(began.elapsed() >= Duration::from_millis(18));
        assert!(matches!(content, Content::Refused(Refusal::DeadlineExceeded)), "{content:?}");
    }

    #[tokio::test]
    async fn an_answer_that_is_ready_is_given_whatever_the_deadline() {
        let ready = service_fn(async |_: Call<TestBody>| Ok(Answer::from(Refusal::NotGrpc)));
        let content = answered(ready, Duration::ZERO).await;
        assert!(matches!(content, Content::Refused(Refusal::NotGrpc)), "{content:?}");
    }
}
