//! What runs by itself: each thing takes no input and is idempotent, so the next run is the retry.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{cache::UserDataCache, config::Config, sync::TaskTracker};

/// Runs `work` every `period` until `stop`, never two runs at a time.
///
/// Runs begin up to a tenth of the period early, and the first one anywhere within it: instances that
/// were started together, or that waited for the same database, do not go on in step.
pub fn every<F>(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    period: Duration,
    mut work: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let stop = stop.clone();
    tasks.spawn(async move {
        let mut next = Instant::now() + period.mul_f64(rand::random());
        while stop.run_until_cancelled(sleep_until(next)).await.is_some() {
            // Counted from the beginning of a run; when one takes longer, the next follows at once.
            next = Instant::now() + period.mul_f64(rand::random_range(0.9..=1.0));
            if stop.run_until_cancelled(work()).await.is_none() {
                break;
            }
        }
    });
}

/// How often a tier that is left alone is tried again.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How often changes are looked at that are to be assembled: little beside the quiet that they wait for.
const REASSEMBLE_EVERY: Duration = Duration::from_millis(100);

/// Starts everything that the cache needs done behind the requests.
pub fn start(cache: &Arc<UserDataCache>, config: &Config, tasks: &TaskTracker, stop: &CancellationToken) {
    let run = |period: Duration, work: Work| {
        let cache = Arc::clone(cache);
        every(tasks, stop, period, move || work(Arc::clone(&cache)));
    };
    run(config.fence.poll, |cache| Box::pin(async move { cache.poll_invalidation_log().await }));
    run(config.sources.relay_poll, |cache| Box::pin(async move { cache.relay_changes().await }));
    run(config.database.sweep_every, |cache| Box::pin(async move { cache.sweep().await }));
    run(config.database.tally_every, |cache| Box::pin(async move { cache.flush_tally().await }));
    run(REASSEMBLE_EVERY, |cache| Box::pin(async move { cache.reassemble() }));
    run(config.inspector.every, |cache| Box::pin(async move { cache.inspect().await }));
    run(PROBE_EVERY, |cache| Box::pin(async move { cache.probe_tiers().await }));
}

type Work = fn(Arc<UserDataCache>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
