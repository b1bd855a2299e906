//! The outermost layer: it starts a request's clock before anything can refuse the request, and counts its end whatever
//! it is. It alone knows HTTP: a request becomes a [`Call`], an [`Answer`] becomes the response.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{rescue, response_body::ResponseBody};
use crate::grpc::{
    answer::{Answer, CallService},
    call::Call,
    method::Method,
    metrics::{Metrics, RequestRecord},
    transport::peer::Peer,
};

/// Puts a [`MetricsService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct MetricsLayer {
    pub(crate) metrics: Arc<Metrics>,
    /// The other end of the connection.
    pub(crate) peer: Peer,
}

/// Counts requests.
#[derive(Clone, Debug)]
pub(crate) struct MetricsService<S> {
    layer: MetricsLayer,
    inner: S,
}

impl<S> Layer<S> for MetricsLayer {
    type Service = MetricsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MetricsService { layer: self.clone(), inner }
    }
}

impl<B, S: CallService<B>> Service<Request<B>> for MetricsService<S> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = MetricsFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let method = Method::of(head.uri.path());
        let mut record = self.layer.metrics.begin(method);
        record.on(self.layer.peer.clone());
        let call = Call::new(method, self.layer.peer.clone(), head, body);
        MetricsFuture { inner: self.inner.call(call), record: Some(record) }
    }
}

pin_project! {
    /// The response to a request.
    #[derive(Debug)]
    pub(crate) struct MetricsFuture<F> {
        #[pin]
        inner: F,
        // The response's body has it in the end.
        record: Option<RequestRecord>,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for MetricsFuture<F> {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(answer) = ready!(this.inner.poll(context));
        let record = this.record.take().expect("a future that has ended is not polled again");
        Poll::Ready(Ok(rescue::response(answer, record)))
    }
}
