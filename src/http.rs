//! HTTP beside gRPC: Connect's protocol for all RPCs, and the planning application's own routes.
//!
//! Every request becomes a call through the layers of gRPC's port ([`crate::grpc::stack`]), so callers, limits, deadlines,
//! request ids and the documents themselves are the same. Only the way in ([`message`]) and the way out ([`connect`],
//! [`planning`]) are of this module.
//!
//! Rejected: a gateway of its own process. It would need its own credentials, and a hit would cost two hops.

mod body;
mod connect;
mod exchange;
mod json;
mod lent;
mod message;
mod origin;
mod planning;
mod reply;
mod route;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Method as HttpMethod, Request, Response, StatusCode, Version, header};
use tokio::net::TcpListener;
use tonic::Code;
use tower::{BoxError, Service};

use self::{body::HttpBody, exchange::Exchange, origin::AllowedOrigins, route::Route};
use crate::{
    cache::{UserDataCache, tiers::memory::JsonDocuments},
    clock::Clock,
    config::{AuthMode, Config, HttpCompat},
    grpc::{
        self,
        method::Method,
        metrics::{Metrics, Protocol},
        request_id::RequestId,
        stack::Stack,
        transport::{peer::Peer, port::Port},
    },
    planning_json::CallerGeneration,
    telemetry::Meter,
};

/// The description of the planning application's routes.
const OPENAPI: &str = include_str!("http/openapi.json");

/// Why a host is refused.
const MISDIRECTED: &str = "without auth.mode, this port is called by an address or a name without a dot";

const UNKNOWN: &str = "there is no such path; GET /openapi.json lists the application's routes";

/// The HTTP port, not yet serving.
#[derive(Debug)]
pub struct HttpServer {
    port: Port,
    front: Front,
}

/// What all connections share.
#[derive(Clone, Debug)]
struct Front(Arc<FrontState>);

#[derive(Debug)]
struct FrontState {
    stack: Stack,
    metrics: Arc<Metrics>,
    callers: CallerGeneration,
    origins: AllowedOrigins,
    documents: Arc<JsonDocuments>,
    request_bytes_max: usize,
    /// Callers need no credentials.
    is_open: bool,
}

impl HttpServer {
    /// A port beside the one of `grpc`, with its layers and limits.
    #[must_use]
    pub fn beside(grpc: &grpc::Server, cache: &UserDataCache, config: &Config, clock: Clock, meter: &Meter) -> Self {
        let front = FrontState {
            stack: grpc.stack(),
            metrics: Metrics::new(Protocol::Http, clock, meter),
            callers: match config.http.compat {
                HttpCompat::New => CallerGeneration::Newest,
                HttpCompat::Aug22 => CallerGeneration::Aug22,
            },
            origins: AllowedOrigins::new(config.http.allowed_origins.clone()),
            documents: cache.json_documents(),
            request_bytes_max: config.server.max_request_bytes,
            is_open: config.auth.mode == AuthMode::None,
        };
        Self { port: grpc.port_of_both_versions(config.http.keep_alive), front: Front(Arc::new(front)) }
    }

    /// Serves until the gRPC port leaves, then finishes the requests in flight.
    pub async fn serve(self, listener: TcpListener) {
        let Self { port, front } = self;
        port.serve(listener, move |peer| FrontService { front: front.clone(), peer }).await;
    }
}

/// Answers the requests of one connection.
struct FrontService {
    front: Front,
    peer: Peer,
}

impl<B> Service<Request<B>> for FrontService
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<HttpBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<HttpBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (front, peer) = (self.front.clone(), self.peer.clone());
        async move { Ok(front.answer(request, peer).await) }.boxed()
    }
}

impl Front {
    async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Response<HttpBody>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let front = &*self.0;
        let is_http1 = request.version() < Version::HTTP_2;
        let (head, body) = request.into_parts();
        let (body, unread) = lent::lend(body);
        let request = Request::from_parts(head, body);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let exchange = Exchange { front, peer, id: RequestId::of(request.headers()) };
        let mut response = match front.route(&request) {
            Route::Connect(method) => connect::answer(&exchange, method, request).await,
            Route::Planning(route) => planning::answer(&exchange, route, request).await,
            other => {
                // Its body comes back.
                drop(request);
                let (code, response) = without_call(other);
                exchange.refused(Method::Unknown, code, response)
            }
        };
        // Only a request that is refused leaves some of its body unread.
        if is_http1 {
            unread.discard(front.request_bytes_max).await;
        }
        if let Some(origin) = origin {
            front.origins.stamp(response.headers_mut(), origin);
        }
        response
    }
}

impl FrontState {
    fn route<B>(&self, request: &Request<B>) -> Route {
        if self.is_open && origin::may_be_rebound(request) {
            return Route::Misdirected;
        }
        if self.origins.is_preflight(request) {
            return Route::Preflight;
        }
        if !self.origins.allow(request) {
            return Route::OtherOrigin;
        }
        Route::of(request.method(), request.uri().path())
    }
}

/// The answer where there is nothing to call.
fn without_call(route: Route) -> (Code, Response<HttpBody>) {
    match route {
        Route::OpenApi => (Code::Ok, openapi()),
        Route::Preflight => (Code::Ok, preflight()),
        Route::Misdirected => (Code::PermissionDenied, plain(StatusCode::MISDIRECTED_REQUEST, MISDIRECTED)),
        Route::OtherOrigin => (Code::PermissionDenied, plain(StatusCode::FORBIDDEN, origin::REFUSED)),
        Route::WrongMethod(allowed) => (Code::Unimplemented, wrong_method(allowed)),
        Route::Connect(_) | Route::Planning(_) | Route::Unknown => {
            (Code::Unimplemented, plain(StatusCode::NOT_FOUND, UNKNOWN))
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<HttpBody> {
    // As the application says errors; other clients show it as it is.
    let body = format!("{{\"detail\":\"{text}\"}}");
    let mut response = Response::new(HttpBody::whole(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, reply::JSON);
    response
}

fn preflight() -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn openapi() -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::whole(Bytes::from_static(OPENAPI.as_bytes())));
    response.headers_mut().insert(header::CONTENT_TYPE, reply::JSON);
    response
}

fn wrong_method(allowed: &'static [HttpMethod]) -> Response<HttpBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "the path does not take this method");
    let allowed = allowed.iter().map(HttpMethod::as_str).collect::<Vec<_>>().join(", ");
    let allowed = HeaderValue::try_from(allowed).expect("names of methods");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
