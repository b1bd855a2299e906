//! Liveness (`/healthz`), readiness (`/readyz`) and metrics (`/metrics`) by plain HTTP on a port of their own, so that
//! they answer while the gRPC port is full.
//!
//! Alive means that the process answers. Ready means the same as in gRPC health: failures of Redis or the AI endpoint
//! do not count. If the changes of the sources have not been known for some seconds, ready says so.

use std::sync::Weak;

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{cache::UserDataCache, grpc::service::health::Health, sync::TaskTracker, telemetry::Scrape};

/// Serves the probes until `stop`.
pub fn serve(
    listener: TcpListener,
    health: Health,
    // Shutdown waits for the cache to be dropped.
    cache: Weak<UserDataCache>,
    scrape: Scrape,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready).with_state((health, cache)))
        .route("/metrics", get(metrics).with_state(scrape));
    let stop = stop.clone();
    tasks.spawn(async move {
        // Not graceful: no client depends on the last answer.
        if let Some(Err(error)) = stop.run_until_cancelled(axum::serve(listener, router).into_future()).await {
            tracing::error!(%error, "probes port failed; liveness, readiness and metrics are not served until a restart");
        }
    });
}

async fn ready(State((health, cache)): State<(Health, Weak<UserDataCache>)>) -> (StatusCode, &'static str) {
    if !health.is_serving() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready\n");
    }
    // Another instance would be no better: the sources' outbox is the same.
    match cache.upgrade().is_some_and(|cache| cache.is_without_changes()) {
        true => (StatusCode::OK, "ready, degraded: changes of the sources are not known\n"),
        false => (StatusCode::OK, "ready\n"),
    }
}

async fn metrics(State(scrape): State<Scrape>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, Scrape::CONTENT_TYPE)], scrape.text())
}
