//! The way of every request, on one page: the layers around the services, outermost first, and the reason for each
//! place.
//!
//! A hit is answered by the call itself, before a future is polled: it makes no box, task or copy of its own.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use tower::{BoxError, Service, ServiceBuilder};

use super::{
    answer::CallService,
    metrics::Metrics,
    middleware::{
        FilterLayer,
        auth::Auth,
        catch_panic::CatchPanicLayer,
        concurrency_limit::{self, ConcurrencyLimitLayer},
        content_type::ContentType,
        deadline::DeadlineLayer,
        deadline_parsed::DeadlineParsed,
        drain::{Drain, DrainLayer},
        memory_hit::MemoryHitLayer,
        metrics::MetricsLayer,
        receive::{self, ReceiveLayer},
        request_id::RequestIdLayer,
        response_body::ResponseBody,
        trace::TraceLayer,
    },
    routes::Routes,
    transport::peer::Peer,
};
use crate::{config, telemetry::Sampling};

/// The layers of a server and its services. Clones share their limits and counts.
#[derive(Clone, Debug)]
pub struct Stack {
    metrics: Arc<Metrics>,
    deadline: DeadlineParsed,
    auth: Auth,
    sampling: Sampling,
    drain: Drain,
    receive: ReceiveLayer,
    limit: ConcurrencyLimitLayer,
    routes: Routes,
}

impl Stack {
    pub(super) fn new(
        config: &config::ServerSettings,
        metrics: Arc<Metrics>,
        sampling: Sampling,
        auth: Auth,
        routes: Routes,
    ) -> Self {
        let receive = ReceiveLayer {
            bytes_max: config.max_request_bytes,
            arrival_max: config.arrival_max,
            slots: receive::slots(config.max_request_bytes, config.max_concurrent_streams),
            health_slots: concurrency_limit::open_calls(config.max_open_calls),
        };
        Self {
            metrics,
            deadline: DeadlineParsed { default: config.default_deadline },
            auth,
            sampling,
            drain: Drain::default(),
            receive,
            limit: ConcurrencyLimitLayer::new(config.max_concurrent_requests, config.max_open_calls),
            routes,
        }
    }

    /// The service for the requests of one connection of gRPC.
    pub fn service<B>(
        &self,
        peer: Peer,
    ) -> impl Service<Request<B>, Response = Response<ResponseBody>, Error = Infallible, Future: Send + Unpin + 'static>
    + Send
    + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        ServiceBuilder::new()
            // Before anything can refuse: every request is counted, however it ends.
            .layer(MetricsLayer { metrics: Arc::clone(&self.metrics), peer })
            // Every answer says the id, also one to another protocol.
            .layer(RequestIdLayer)
            // Nothing below has to understand another protocol.
            .layer(FilterLayer(ContentType))
            .service(self.calls())
    }

    /// The service for the requests of one connection that another protocol has translated to gRPC; `metrics` counts
    /// them.
    pub(crate) fn translated<B>(
        &self,
        metrics: Arc<Metrics>,
        peer: Peer,
    ) -> impl Service<Request<B>, Response = Response<ResponseBody>, Error = Infallible, Future: Send + Unpin + 'static>
    + Send
    + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        ServiceBuilder::new().layer(MetricsLayer { metrics, peer }).layer(RequestIdLayer).service(self.calls())
    }

    /// The layers and services that are the same for every protocol.
    fn calls<B>(&self) -> impl CallService<B, Future: Send + Unpin + 'static> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        ServiceBuilder::new()
            // A panic of anything below fails one request, not its connection.
            .layer(CatchPanicLayer)
            // A malformed timeout is refused even if a hit were ready; the deadline bounds all that waits below.
            .layer(FilterLayer(self.deadline))
            // Unauthenticated requests must not consume anything that is limited below.
            .layer(FilterLayer(self.auth.clone()))
            // Only an authenticated caller's traceparent counts; the span names the caller.
            .layer(TraceLayer(self.sampling.clone()))
            // A draining server gives no hits and receives no bodies.
            .layer(DrainLayer(self.drain.clone()))
            // A message on its way holds no permit.
            .layer(self.receive.clone())
            // A hit needs no permit: it never waits. Boxes the future of everything below.
            .layer(MemoryHitLayer { rpcs: self.routes.rpcs.clone() })
            // The work is limited, not the wait for messages. Calls that need no permit have limits of their own.
            .layer(self.limit.clone())
            // Bounds the work, and the stream that may come out of it.
            .layer(DeadlineLayer)
            .service(self.routes.clone())
    }

    /// The counts of requests.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }
}

#[cfg(test)]
mod tests;
