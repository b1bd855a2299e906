//! The way of every request, on one page: what surrounds the services, outermost first, and why in
//! this order.
//!
//! 1. *Metrics* start the clock before anything can refuse, and hear of the end whatever it is.
//! 2. *Request id*: everything below may name it.
//! 3. *Span*, if the request is traced or not a Get: everything below logs within it. A Get that is not traced makes
//!    none; its few lines name it themselves.
//! 4. *Content type*: what is not gRPC is nobody's call.
//! 5. *Recover*: a panic below is an answer, and is counted and logged like one.
//! 6. *Auth*: before anything that depends on what is asked for; a stranger takes no place from anybody.
//! 7. *Admission*: before any work; a refusal has to be cheap.
//! 8. *Deadline*: around the work, and around the stream that may come out of it.
//!
//! A document that is in memory does not go so far: after its credentials have been looked at it is answered by the poll
//! that brought the request ([`memory_hit`](super::middleware::memory_hit)).
//!
//! A plain async function instead of a tower of layers: the order is what matters, and here it reads
//! from top to bottom. Not tonic's own timeout and limits: they sit outside of all this, so metrics
//! would never hear of them.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use tonic::{Status, body::Body, metadata::GRPC_CONTENT_TYPE, service::Routes};
use tonic_types::FieldViolation;
use tower::{BoxError, ServiceExt as _};
use tracing::{Instrument as _, Span, error, error_span, field::Empty};

use super::{
    method::Method,
    middleware::{
        auth::Auth,
        catch_panic::{self, Panicked},
        concurrency_limit::ConcurrencyLimit,
        deadline::Bound,
        memory_hit::{Hits, Peeked},
        metrics::{Call, Metrics},
        response_body::ReplyBody,
    },
    refusal::{Outcome, Refusal},
    request_id::RequestId,
    service::{Reply, reply},
    status,
};
use crate::{
    proto::SealedResponse,
    telemetry::{
        Sampling,
        trace::{self, TRACED},
    },
};

/// The services and what surrounds them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Stack(Arc<Parts>);

/// What a stack is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) metrics: Arc<Metrics>,
    pub(super) sampling: Sampling,
    pub(super) auth: Auth,
    pub(super) gate: ConcurrencyLimit,
    pub(super) default_deadline: Duration,
    /// How long a request's message may take to arrive.
    pub(super) arrival: Duration,
    /// None: everything goes the whole way.
    pub(super) hits: Option<Hits>,
    pub(super) routes: Routes,
}

/// A request that has arrived.
#[derive(Debug)]
struct Asked<B> {
    parts: Arc<Parts>,
    method: Method,
    /// Counted when it is dropped.
    call: Call,
    id: RequestId,
    span: Span,
    request: Request<Peeked<B>>,
}

impl Stack {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// What happened to requests.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Begins to answer a request.
    pub fn ask<B>(&self, request: Request<B>) -> Answering<B> {
        let parts = Arc::clone(&self.0);
        // Begun here, not when the future is first polled: it may be dropped before.
        let method = Method::of(request.uri().path());
        let mut call = parts.metrics.begin(method);
        let id = RequestId::of(request.headers());
        let span = span(method, &id, parts.sampling.context(request.headers()));
        call.is_traced_by(span.clone());
        let request = request.map(Peeked::from);
        Answering { asked: Some(Asked { parts, method, call, id, span, request }), underway: None }
    }

    pub(super) fn gate(&self) -> &ConcurrencyLimit {
        &self.0.gate
    }
}

impl<B> Asked<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// What is in memory, if it is asked for.
    fn hit(&mut self, context: &mut Context<'_>) -> Option<Result<Reply, Status>> {
        let Self { parts, id, span, request, .. } = self;
        let hits = parts.hits.as_ref().filter(|_| self.method == Method::Get)?;
        let find = || hits.reply(&parts.auth, &parts.gate, id, request, context);
        let found = span.in_scope(|| catch_panic::call(find));
        found.unwrap_or_else(|Panicked| {
            id.in_log(|| error!("a handler panicked"));
            Some(Err(status::internal(id)))
        })
    }

    fn reply_at_once(self, reply: Result<Reply, Status>) -> Response<ReplyBody> {
        let Self { call, id, span, .. } = self;
        match reply {
            Ok(Reply { sealed, x_cache, status }) => {
                span.record("userdata.status", status);
                let mut response = Response::new(ReplyBody::sealed(sealed, call, id.clone(), span));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
                headers.insert(reply::X_CACHE, x_cache);
                id.stamp(headers);
                response
            }
            Err(status) => refuse(Refusal { outcome: Outcome::Answered, status }, call, id),
        }
    }

    /// The whole way.
    async fn answer(self) -> Response<ReplyBody> {
        let Self { parts, method, call, id, span, request } = self;
        if !is_grpc(request.headers()) {
            return not_grpc(call, id);
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(id.clone());

        let answered = catch_panic::future(pass(&parts, method, request)).instrument(span.clone()).await;
        let answered = answered.unwrap_or_else(|Panicked| {
            span.in_scope(|| id.in_log(|| error!("a handler panicked")));
            Err(Refusal { outcome: Outcome::Answered, status: status::internal(&id) })
        });

        match answered {
            Ok((response, bound)) => reply_with(response, bound, call, id, span),
            Err(refusal) => refuse(refusal, call, id),
        }
    }
}

/// Of a level that every filter lets through, so that lines within it keep its ids.
fn span(method: Method, id: &RequestId, trace: Option<opentelemetry::Context>) -> Span {
    if !method.is_ours() {
        return Span::none();
    }
    let name = method.name();
    if let Some(context) = trace {
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

async fn pass(parts: &Parts, method: Method, mut request: Request<Body>) -> Result<(Response<Body>, Bound), Refusal> {
    if let Some(caller) = parts.auth.admit(method, request.headers(), request.extensions())? {
        Span::current().record("caller", &*caller);
    }
    // HeldPermit until there is a response; a handler that has to wait may give it back before.
    let place = parts.gate.admit(method)?;
    let bound = Bound::of(method, request.headers(), parts.default_deadline, &parts.gate)?;
    if let Some(place) = &place {
        request.extensions_mut().insert(place.clone());
    }
    tokio::select! {
        // In this order an answer that is there is given, even if the deadline was 0.
        biased;
        Ok(response) = parts.routes.clone().oneshot(request) => Ok((response, bound)),
        refusal = bound.clone().passed() => Err(refusal),
        Some(refusal) = async { Some(place?.overdue(parts.arrival).await) } => Err(refusal),
    }
}

/// A browser sends forms and texts wherever any page tells it to, with its user's certificate, but never this type
/// without asking the server first. tonic takes any.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|of| of.as_bytes().starts_with(b"application/grpc"))
}

fn reply_with(
    response: Response<Body>,
    bound: Bound,
    mut call: Call,
    id: RequestId,
    span: Span,
) -> Response<ReplyBody> {
    let (mut head, body) = response.into_parts();
    id.stamp(&mut head.headers);
    if let Some(sealed) = head.extensions.remove::<SealedResponse>() {
        return Response::from_parts(head, ReplyBody::sealed(sealed, call, id, span));
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

/// By its status nobody takes it for an answer, whether they know gRPC or not.
fn not_grpc(call: Call, id: RequestId) -> Response<ReplyBody> {
    let violation = FieldViolation::new("content-type", "must begin with application/grpc");
    let refusal = Refusal { outcome: Outcome::Answered, status: status::invalid(vec![violation]) };
    let mut response = refuse(refusal, call, id);
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// A request on its way to its answer.
pub struct Answering<B> {
    /// Until it is first polled.
    asked: Option<Asked<B>>,
    /// From then on, unless that was all.
    underway: Option<BoxFuture<'static, Response<ReplyBody>>>,
}

impl<B> std::fmt::Debug for Answering<B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Answering").field("underway", &self.underway.is_some()).finish_non_exhaustive()
    }
}

impl<B> Future for Answering<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Output = Result<Response<ReplyBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(mut asked) = this.asked.take() {
            if let Some(reply) = asked.hit(context) {
                return Poll::Ready(Ok(asked.reply_at_once(reply)));
            }
            this.underway = Some(asked.answer().boxed());
        }
        let underway = this.underway.as_mut().expect("a future that has ended is not polled again");
        underway.as_mut().poll(context).map(Ok)
    }
}
