//! The status that `grpc.health.v1` gives: always the same for the whole server ("") and its service.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Mutex;
use tonic::server::NamedService as _;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthService, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::UserDataServer;

/// Whether the server may be sent requests. Not serving at first. Clones are the same.
///
/// Failures of Redis or of the AI endpoint do not change it: answers are only slower or partial.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    /// The same, for the probes of this process.
    serving: Arc<AtomicBool>,
    /// Locked during a change; true once the server leaves, which is the last change.
    left: Arc<Mutex<bool>>,
}

impl Health {
    /// Not serving, and the gRPC service.
    pub async fn new() -> (Self, HealthServer<impl HealthService>) {
        let (reporter, server) = health_reporter();
        let health = Self { reporter, serving: Arc::default(), left: Arc::default() };
        health.set(ServingStatus::NotServing).await;
        (health, server)
    }

    /// The server is ready. No effect once it is leaving.
    pub async fn serving(&self) {
        let left = self.left.lock().await;
        if !*left {
            self.set(ServingStatus::Serving).await;
        }
    }

    /// The server goes away, for good.
    pub async fn leaving(&self) {
        let mut left = self.left.lock().await;
        *left = true;
        self.set(ServingStatus::NotServing).await;
    }

    /// The last status.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    async fn set(&self, status: ServingStatus) {
        self.serving.store(status == ServingStatus::Serving, Ordering::Relaxed);
        for service in ["", UserDataServer::NAME] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
