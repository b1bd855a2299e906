//! The gRPC server: `transport` has the sockets, `middleware` the layers around every request, `service` the RPCs.
//! [`stack`] lists the layers in order, with reasons.
//!
//! Shutdown: health says NOT_SERVING (the app has it said `server.drain_delay` earlier) and further calls are refused;
//! the listener closes and clients are sent GOAWAY; requests in flight finish. Connections whose requests do not finish
//! in time are closed, and their requests count as abandoned.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic_reflection::server::Builder as Reflection;
use tracing::warn;

use self::{
    metrics::{Metrics, Protocol},
    routes::Routes,
    security::Security,
    service::{UserDataRpcs, UserDataServer, health::Health},
    stack::Stack,
    transport::{
        channel::Opener,
        connections::{ConnectionLimits, Connections},
        http_server::{HttpLimits, Leave},
        port::Port,
        tls::Spoken,
    },
};
use crate::{cache::UserDataCache, clock::Clock, config, proto, sync::TaskTracker, telemetry::Telemetry};

pub mod answer;
pub mod call;
pub mod caller;
pub mod method;
pub mod metrics;
pub mod middleware;
pub mod reason;
pub mod refusal;
pub mod request_id;
pub mod routes;
pub mod security;
pub mod service;
pub mod slots;
pub mod stack;
pub mod status;
pub mod transport;

/// The share of the shutdown's time that requests get; the rest is for loads, counts and pools.
const DRAIN_SHARE: f64 = 0.75;

/// The server, connected and not yet serving.
#[derive(Debug)]
pub struct Server {
    stack: Stack,
    health: Health,
    port: Port,
    drain: Duration,
}

/// Why the server ended without finishing its requests.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Some requests did not finish in time; their connections were closed.
    #[error("requests did not finish within {0:?} and were cut off")]
    CutOff(Duration),
}

impl Server {
    /// The services over `cache`. Connections become tasks of `tracker`.
    pub async fn new(
        cache: Arc<UserDataCache>,
        config: &config::ServerSettings,
        security: Security,
        clock: Clock,
        tracker: TaskTracker,
        telemetry: &Telemetry,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let rpcs = Arc::new(UserDataRpcs::new(cache, clock.clone(), config.max_response_bytes));
        let service = UserDataServer::from_arc(Arc::clone(&rpcs))
            .max_decoding_message_size(config.max_request_bytes)
            // Never reached: a larger reply is refused before, with the sizes of its sections.
            .max_encoding_message_size(config.max_response_bytes)
            .accept_compressed(CompressionEncoding::Gzip);
        let routes = Routes { rpcs: Some(rpcs), tonic: tonic::service::Routes::new(service) };
        Self::with(routes, config, security, clock, tracker, telemetry).await
    }

    /// Any services, with health and reflection beside them.
    async fn with(
        Routes { rpcs, tonic }: Routes,
        config: &config::ServerSettings,
        security: Security,
        clock: Clock,
        tracker: TaskTracker,
        telemetry: &Telemetry,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let (health, health_service) = Health::new().await;
        let tonic = tonic
            .add_service(health_service.max_decoding_message_size(config.max_request_bytes))
            .add_service(reflection().build_v1()?.max_decoding_message_size(config.max_request_bytes))
            .add_service(reflection().build_v1alpha()?.max_decoding_message_size(config.max_request_bytes));
        let routes = Routes { rpcs, tonic: tonic.prepare() };
        let metrics = Metrics::new(Protocol::Grpc, clock.clone(), &telemetry.meter());
        let limits = ConnectionLimits {
            connections: config.max_connections,
            first_request: config.first_request_max,
            idle: config.idle_max,
        };
        let port = Port {
            opener: Opener { tls: security.tls, coalesce_writes: config.coalesce_writes, spoken: Spoken::Http2 },
            connections: Connections::new(limits, clock, &telemetry.meter()),
            write_stall_max: config.write_stall_max,
            limits: HttpLimits {
                preface: config.preface_max,
                keep_alive: config.idle_max,
                streams: config.max_concurrent_streams,
            },
            tracker,
            leave: Leave::default(),
        };
        Ok(Self {
            stack: Stack::new(config, metrics, telemetry.sampling(), security.auth, routes),
            health,
            port,
            drain: config.drain.mul_f64(DRAIN_SHARE),
        })
    }

    /// The health status, which the app sets.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The counts of requests.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(self.stack.metrics())
    }

    /// The layers and services, for measurements without a network.
    #[must_use]
    pub fn stack(&self) -> Stack {
        self.stack.clone()
    }

    /// Another port, with the same layers, services and limits; it leaves with this one.
    #[must_use]
    pub(crate) fn port_of_both_versions(&self, keep_alive: Duration) -> Port {
        self.port.of_both_versions(keep_alive)
    }

    /// Serves until `shutdown`, then finishes the requests in flight; `beside` serves the other ports. To be awaited to
    /// its end: dropped halfway, it closes the listener and leaves connections running.
    pub async fn serve(
        self,
        listener: TcpListener,
        beside: impl Future<Output = ()>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let Leave { leaving, cut_off } = self.port.leave.clone();
        let stack = self.stack.clone();
        let serving = self.port.serve(listener, move |peer| stack.service(peer));
        let drained = async {
            shutdown.await;
            self.health.leaving().await;
            self.stack.drain().begin();
            leaving.cancel();
            tokio::time::sleep(self.drain).await;
        };

        tokio::select! {
            biased;
            _ = async { tokio::join!(serving, beside) } => Ok(()),
            () = drained => {
                warn!("requests did not finish in time; closing their connections");
                cut_off.cancel();
                Err(ServeError::CutOff(self.drain))
            }
        }
    }
}

fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
