//! When an instance reports that it is ready.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{UserDataCache, invalidation_log::LogValidity},
    grpc::service::health::Health,
};

/// How long an instance whose sources are elsewhere waits for the database before it serves without it.
const START_WITHOUT_DATABASE: Duration = Duration::from_secs(1);
/// Short, so that a start does not feel slow.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// Reports SERVING once the invalidation log is read up to its head, which needs a migrated database. If the sources are
/// elsewhere, it also serves without the database, after a moment; but not while the database answers and the log is only
/// not read yet.
pub(super) async fn report_ready(
    cache: Arc<UserDataCache>,
    health: Health,
    sources_elsewhere: bool,
    stop: CancellationToken,
) {
    let started = Instant::now();
    let mut warned = false;
    loop {
        let validity = cache.invalidation_log().validity();
        let readable = validity != LogValidity::Expired;
        let is_late = started.elapsed() > START_WITHOUT_DATABASE;
        let is_behind = cache.invalidation_log().is_behind();
        // Changes of the sources are known some polls later than the log.
        if validity == LogValidity::Verified || (is_late && (readable || (sources_elsewhere && !is_behind))) {
            health.serving().await;
            if readable {
                tracing::info!("ready");
            } else {
                tracing::warn!("ready without the cache's database; answers are not cached until it can be read");
            }
            return;
        }
        if !warned && is_late {
            warned = true;
            if let Err(error) = cache.invalidation_log().catch_up().await {
                tracing::warn!(
                    %error,
                    "not serving: the cache's database cannot be read. Is it up, and has `userdata migrate up` been run? Serving starts when it can be read"
                );
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(CHECK_EVERY)).await.is_none() {
            return;
        }
    }
}
