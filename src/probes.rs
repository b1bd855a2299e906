//! Liveness (`/healthz`) and readiness (`/readyz`) by plain HTTP, on a port of their own: what asks
//! them speaks no gRPC, and must be answered when the callers' port is full.
//!
//! Alive means that the process answers. Ready means what gRPC health says: trouble with Redis or the
//! AI endpoint does not count.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::grpc::health::Health;

/// Serves the probes until `stop`.
pub fn serve(listener: TcpListener, health: Health, tasks: &TaskTracker, stop: &CancellationToken) {
    let router =
        Router::new().route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(ready)).with_state(health);
    let stop = stop.clone();
    tasks.spawn(async move {
        // Not a graceful end: nobody is owed an answer here.
        if let Some(Err(error)) = stop.run_until_cancelled(axum::serve(listener, router).into_future()).await {
            tracing::error!(%error, "the probes' port failed");
        }
    });
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    match health.is_serving() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}
