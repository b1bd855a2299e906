//! The way of every request, on one page: what surrounds the services, outermost first, and why in
//! this order.
//!
//! 1. *Metrics* start the clock before anything can refuse, and hear of the end whatever it is.
//! 2. *Request id*: everything below may name it.
//! 3. *Span*, if the request is traced or not a Get: everything below logs within it. A Get that is not traced makes
//!    none; its few lines name it themselves.
//! 4. *Recover*: a panic below is an answer, and is counted and logged like one.
//! 5. *Auth*: before anything that depends on what is asked for; a stranger takes no place from anybody.
//! 6. *Admission*: before any work; a refusal has to be cheap.
//! 7. *Deadline*: around the work, and around the stream that may come out of it.
//!
//! A plain async function instead of a tower of layers: the order is what matters, and here it reads
//! from top to bottom. Not tonic's own timeout and limits: they sit outside of all this, so metrics
//! would never hear of them.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tonic::{Status, body::Body, service::Routes};
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, Span, error, error_span, field::Empty};

use super::{
    admission::Gate,
    auth::Auth,
    body::ReplyBody,
    deadline::Bound,
    method::Method,
    metrics::{Call, Metrics, Outcome},
    recover::{self, Panicked},
    request_id::RequestId,
    status,
};
use crate::{
    proto::SealedResponse,
    telemetry::{
        Sampling,
        trace::{self, TRACED},
    },
};

/// An answer given in place of the service's.
#[derive(Debug)]
pub struct Refusal {
    /// How the request is counted.
    pub outcome: Outcome,
    /// What the caller is told.
    pub status: Status,
}

/// The services and what surrounds them.
#[derive(Clone, Debug)]
pub struct Stack {
    pub(super) metrics: Arc<Metrics>,
    pub(super) sampling: Sampling,
    pub(super) auth: Auth,
    pub(super) gate: Gate,
    pub(super) default_deadline: Duration,
    pub(super) routes: Routes,
}

impl Stack {
    async fn answer(self, method: Method, mut call: Call, mut request: Request<Body>) -> Response<ReplyBody> {
        let id = RequestId::of(request.headers());
        request.extensions_mut().insert(id.clone());
        let span = self.span(method, &id, &request);
        call.is_traced_by(span.clone());

        let answered = recover::future(self.pass(method, request)).instrument(span.clone()).await;
        let answered = answered.unwrap_or_else(|Panicked| {
            span.in_scope(|| id.in_log(|| error!("a handler panicked")));
            Err(Refusal { outcome: Outcome::Answered, status: status::internal(&id) })
        });

        match answered {
            Ok((response, bound)) => reply(response, bound, call, id, span),
            Err(refusal) => refuse(refusal, call, id),
        }
    }

    /// Of a level that every filter lets through, so that lines within it keep its ids.
    fn span(&self, method: Method, id: &RequestId, request: &Request<Body>) -> Span {
        if !method.is_ours() {
            return Span::none();
        }
        let name = method.name();
        if let Some(context) = self.sampling.context(request.headers()) {
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
                request.id = id.as_str(),
                caller = Empty,
                trace_id = Empty,
            );
            trace::put_into(&span, context);
            return span;
        }
        if method == Method::Get {
            return Span::none();
        }
        let span = id.span();
        span.record("rpc.method", name);
        span
    }

    async fn pass(self, method: Method, mut request: Request<Body>) -> Result<(Response<Body>, Bound), Refusal> {
        if let Some(caller) = self.auth.admit(method, request.headers(), request.extensions())? {
            Span::current().record("caller", &*caller);
        }
        // Held until there is a response; a handler that has to wait may give it back before.
        let place = self.gate.admit(method)?;
        let bound = Bound::of(method, request.headers(), self.default_deadline, &self.gate)?;
        if let Some(place) = &place {
            request.extensions_mut().insert(place.clone());
        }
        tokio::select! {
            // In this order an answer that is there is given, even if the deadline was 0.
            biased;
            Ok(response) = self.routes.oneshot(request) => Ok((response, bound)),
            refusal = bound.clone().passed() => Err(refusal),
        }
    }
}

fn reply(response: Response<Body>, bound: Bound, mut call: Call, id: RequestId, span: Span) -> Response<ReplyBody> {
    let (mut head, body) = response.into_parts();
    id.stamp(&mut head.headers);
    if let Some(sealed) = head.extensions.remove::<SealedResponse>() {
        return Response::from_parts(head, ReplyBody::sealed(sealed, bound, call, id, span));
    }
    let Some(status) = Status::from_header_map(&head.headers) else {
        return Response::from_parts(head, ReplyBody::new(body, bound, call, id, span));
    };
    // An error without a message has its status in the headers and nothing after them.
    status::complete(&mut head.headers, &id);
    call.ends(Outcome::Answered, status.code());
    Response::from_parts(head, ReplyBody::empty(call, id))
}

fn refuse(refusal: Refusal, mut call: Call, id: RequestId) -> Response<ReplyBody> {
    call.ends(refusal.outcome, refusal.status.code());
    let (mut head, ()) = refusal.status.into_http().into_parts();
    id.stamp(&mut head.headers);
    Response::from_parts(head, ReplyBody::empty(call, id))
}

impl Service<Request<Body>> for Stack {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Limits refuse, they do not make wait.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Begun here, not when the future is first polled: it may be dropped before.
        let method = Method::of(request.uri().path());
        let call = self.metrics.begin(method);
        self.clone().answer(method, call, request).map(Ok).boxed()
    }
}
