//! A span around a request, if the request is traced or is not a Get: everything below logs within it. A Get that is not
//! traced has none; its few log lines name the request themselves.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tonic::Code;
use tower::{Layer, Service};
use tracing::{Span, error_span, field::Empty};

use crate::{
    grpc::{
        answer::{Answer, CallService},
        call::Call,
        method::Method,
        metrics::record_code,
    },
    telemetry::{
        Sampling,
        trace::{self, TRACED},
    },
};

/// Puts a [`TraceService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct TraceLayer(pub Sampling);

/// Runs the service below within spans.
#[derive(Clone, Debug)]
pub(crate) struct TraceService<S> {
    sampling: Sampling,
    inner: S,
}

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TraceService { sampling: self.0.clone(), inner }
    }
}

impl<B, S: CallService<B>> Service<Call<B>> for TraceService<S> {
    type Response = Answer;
    type Error = Infallible;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        let span = span(&call, &self.sampling);
        if let Some(caller) = &call.caller.name {
            span.record("caller", &**caller);
        }
        let inner = span.in_scope(|| self.inner.call(call));
        TraceFuture { inner, span }
    }
}

/// Every filter passes its level, so that lines within it keep its ids.
fn span<B>(call: &Call<B>, sampling: &Sampling) -> Span {
    if !call.method.is_ours() {
        return Span::none();
    }
    let name = call.method.name();
    if let Some(context) = sampling.context(call.headers()) {
        let span = error_span!(
            target: TRACED,
            "request",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = name,
            rpc.response.status_code = Empty,
            userdata.status = Empty,
            request.id = call.id.as_str(),
            caller = Empty,
            trace_id = Empty,
        );
        trace::put_into(&span, context);
        return span;
    }
    if call.method == Method::Get {
        return Span::none();
    }
    let span = call.id.span();
    span.record("rpc.method", name);
    span
}

pin_project! {
    /// The answer of the service below, with its span.
    #[derive(Debug)]
    pub(crate) struct TraceFuture<F> {
        #[pin]
        inner: F,
        // None once the answer has it.
        span: Span,
    }

    impl<F> PinnedDrop for TraceFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            // Without an answer, the request has been abandoned or a layer below has panicked.
            record_code(&this.span, if std::thread::panicking() { Code::Internal } else { Code::Cancelled });
        }
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for TraceFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut answer) = ready!(this.span.in_scope(|| this.inner.poll(context)));
        answer.span = std::mem::replace(this.span, Span::none());
        Poll::Ready(Ok(answer))
    }
}
