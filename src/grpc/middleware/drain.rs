//! A draining server takes no further calls: no hits, no bodies. Health, reflection and unknown methods still get an
//! answer, and their open calls end now.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};

use crate::grpc::{
    answer::{Answer, CallService, ReadyOr, Until, answered},
    call::Call,
    refusal::Refusal,
};

/// Whether the server drains. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(Arc<DrainState>);

#[derive(Debug, Default)]
struct DrainState {
    /// Beside the token, which takes a lock that all cores share.
    has_begun: AtomicBool,
    token: CancellationToken,
}

impl Drain {
    /// Refuses calls from now on.
    pub(crate) fn begin(&self) {
        self.0.has_begun.store(true, Relaxed);
        self.0.token.cancel();
    }

    #[must_use]
    pub(crate) fn has_begun(&self) -> bool {
        self.0.has_begun.load(Relaxed)
    }
}

/// Puts a [`DrainService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct DrainLayer(pub Drain);

/// Refuses calls while the server drains.
#[derive(Clone, Debug)]
pub(crate) struct DrainService<S> {
    drain: Drain,
    inner: S,
}

impl<S> Layer<S> for DrainLayer {
    type Service = DrainService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DrainService { drain: self.0.clone(), inner }
    }
}

impl<B, S: CallService<B>> Service<Call<B>> for DrainService<S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = ReadyOr<DrainFuture<S::Future>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        if call.method.is_ours() && self.drain.has_begun() {
            return answered(Refusal::Draining);
        }
        let token = call.deadline.is_none().then(|| self.drain.0.token.clone());
        Either::Right(DrainFuture { inner: self.inner.call(call), token, drained: None })
    }
}

pin_project! {
    /// The answer of the service below, or the refusal.
    pub(crate) struct DrainFuture<F> {
        #[pin]
        inner: F,
        // Ends a call without a deadline.
        token: Option<CancellationToken>,
        // Made when such a call first has to wait.
        drained: Option<BoxFuture<'static, ()>>,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for DrainFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(Ok(mut answer)) = this.inner.poll(context) {
            if let Some(Until::Open(open)) = &mut answer.until {
                open.drain = this.token.take();
            }
            return Poll::Ready(Ok(answer));
        }
        let Some(token) = this.token else { return Poll::Pending };
        let drained = this.drained.get_or_insert_with(|| token.clone().cancelled_owned().boxed());
        ready!(drained.as_mut().poll(context));
        Poll::Ready(Ok(Refusal::Draining.into()))
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use tonic::body::Body;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::grpc::{
        answer::{Content, OpenStream},
        method::Method,
        slots::{Loses, Slots},
        testing::{self, TestBody},
    };

    async fn answered(drain: &Drain, method: Method) -> Answer {
        let encoded = service_fn(async |call: Call<TestBody>| {
            let mut answer = Answer::from(Content::Encoded(Response::new(Body::empty())));
            let slot = Slots::new(Loses::Newest, 1, 1).take(&call.peer);
            answer.until = Some(Until::Open(OpenStream { slot, deadline: None, drain: None }));
            Ok(answer)
        });
        let Ok(answer) = DrainLayer(drain.clone()).layer(encoded).oneshot(testing::call(method, &[])).await;
        answer
    }

    #[tokio::test]
    async fn while_draining_only_health_and_reflection_are_answered() {
        let drain = Drain::default();
        for begun in [false, true] {
            for method in Method::ALL {
                let is_answered = answered(&drain, method).await.is_encoded();
                assert_eq!(is_answered, !begun || !method.is_ours(), "{method:?}");
            }
            drain.begin();
        }
    }

    #[tokio::test]
    async fn streams_that_stay_open_end_when_the_server_drains() {
        let drain = Drain::default();
        let until = answered(&drain, Method::Health).await.until.unwrap();
        drain.begin();
        assert!(matches!(until.passed().await, Refusal::Draining));
    }

    #[tokio::test]
    async fn a_call_that_waits_without_a_deadline_ends_when_the_server_drains() {
        let drain = Drain::default();
        let hanging = service_fn(|_| std::future::pending());
        let answer = DrainLayer(drain.clone()).layer(hanging).oneshot(testing::call(Method::Reflection, &[]));
        drain.begin();
        let Ok(answer) = answer.await;
        assert!(matches!(answer.content, Content::Refused(Refusal::Draining)));
    }
}
