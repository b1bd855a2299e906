//! What `grpc.health.v1` says of the whole server ("") and of its service: always the same of both.

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

/// Says whether the server may be sent requests. Not serving until told otherwise. Clones are the same.
///
/// Trouble with Redis or the AI endpoint is no reason to tell: answers are merely slower or partial.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    /// The same, for who asks in this process.
    serving: Arc<AtomicBool>,
    /// Locked while something is told; true once the server leaves, after which nothing else is.
    left: Arc<Mutex<bool>>,
}

impl Health {
    /// Not serving, and the service that says so.
    pub async fn new() -> (Self, HealthServer<impl HealthService>) {
        let (reporter, server) = health_reporter();
        let health = Self { reporter, serving: Arc::default(), left: Arc::default() };
        health.tell(ServingStatus::NotServing).await;
        (health, server)
    }

    /// Ready: migrated, or told to do without. Unless it is leaving already.
    pub async fn serving(&self) {
        let left = self.left.lock().await;
        if !*left {
            self.tell(ServingStatus::Serving).await;
        }
    }

    /// Going away, for good.
    pub async fn leaving(&self) {
        let mut left = self.left.lock().await;
        *left = true;
        self.tell(ServingStatus::NotServing).await;
    }

    /// What was told last.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    async fn tell(&self, status: ServingStatus) {
        self.serving.store(status == ServingStatus::Serving, Ordering::Relaxed);
        for service in ["", UserDataServer::NAME] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
