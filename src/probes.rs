//! Liveness (`/healthz`), readiness (`/readyz`) and metrics (`/metrics`) by plain HTTP on a port of their own, so that
//! they answer while the gRPC port is full.
//!
//! Alive means that the process answers. Ready means the same as in gRPC health: failures of Redis or the AI endpoint
//! do not count.

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{grpc::service::health::Health, sync::TaskTracker, telemetry::Scrape};

/// Serves the probes until `stop`.
pub fn serve(listener: TcpListener, health: Health, scrape: Scrape, tasks: &TaskTracker, stop: &CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(metrics).with_state(scrape));
    let stop = stop.clone();
    tasks.spawn(async move {
        // Not graceful: no client depends on the last answer.
        if let Some(Err(error)) = stop.run_until_cancelled(axum::serve(listener, router).into_future()).await {
            tracing::error!(%error, "probes port failed; liveness, readiness and metrics are not served until a restart");
        }
    });
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    match health.is_serving() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn metrics(State(scrape): State<Scrape>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, Scrape::CONTENT_TYPE)], scrape.text())
}
