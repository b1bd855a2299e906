//! Background jobs. A job takes no input and is idempotent, so its next run is the retry.

mod change_relay;
mod feed_log;
pub mod notifications;
mod prefetch;
mod staleness_check;
mod sweep;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    change_relay::ChangeRelay, feed_log::FeedLog, prefetch::Prefetch, staleness_check::StalenessCheck, sweep::Sweep,
};
use crate::{
    cache::{UserDataCache, invalidation_log::InvalidationLog, tiers::Tiers, watched_files::WatchedFiles},
    config::Config,
    sync::{Mutex, TaskTracker},
};

/// How often to probe a tier whose circuit is open.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// A dead holder's lease costs the next asker the time until it counts as dead; its row is gone after two or three sweeps.
const LEASE_SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often to look for changes that are due: little beside the quiet period that they wait for.
const PREFETCH_EVERY: Duration = Duration::from_millis(100);

/// The jobs of one cache.
#[derive(Debug)]
pub struct Jobs {
    log: Arc<InvalidationLog>,
    tiers: Arc<Tiers>,
    sweep: Sweep,
    /// None: one database for all users.
    files: Option<Arc<WatchedFiles>>,
    /// None without a change feed.
    relay: Option<Arc<ChangeRelay>>,
    feed_log: Option<FeedLog>,
    staleness_check: Option<StalenessCheck>,
    /// None if prefetching is off.
    prefetch: Option<Arc<Prefetch>>,
}

impl Jobs {
    #[must_use]
    pub fn new(cache: &UserDataCache) -> Self {
        let UserDataCache { config, log, tiers, readers, samples, counters, aggregator, clock, .. } = cache;
        let relay = cache.outbox.clone().zip(cache.feed.clone()).map(|(outbox, feed)| {
            let (log, tiers, counters) = (Arc::clone(log), Arc::clone(tiers), Arc::clone(counters));
            let (repairs, tasks) = (config.sources.repair_triggers, cache.tasks.clone());
            Arc::new(ChangeRelay::new(outbox, log, feed, tiers, counters, repairs, tasks, clock.clone()))
        });
        let staleness_check = relay.clone().map(|relay| StalenessCheck {
            samples: Arc::clone(samples),
            relay,
            aggregator: Arc::clone(aggregator),
            log: Arc::clone(log),
            counters: Arc::clone(counters),
            config: config.clone(),
            clock: clock.clone(),
            findings: Mutex::default(),
        });
        let prefetch = config.prefetch.enabled.then(|| Prefetch {
            config: config.prefetch.clone(),
            readers: Arc::clone(readers),
            loads: Arc::clone(&cache.loads),
            tiers: Arc::clone(tiers),
            log: Arc::clone(log),
            aggregator: Arc::clone(aggregator),
            counters: Arc::clone(counters),
            permits: Arc::new(Semaphore::new(config.loads.max_concurrent.div_ceil(2))),
            tasks: cache.tasks.clone(),
        });
        let sweep = Sweep {
            tiers: Arc::clone(tiers),
            aggregator: Arc::clone(aggregator),
            leases: Arc::clone(&cache.leases),
            log: Arc::clone(log),
            config: config.database.clone(),
        };
        let (log, tiers) = (Arc::clone(log), Arc::clone(tiers));
        let files = cache.files.clone();
        let feed_log = cache.feed.clone().map(|feed| FeedLog::new(feed, clock.clone()));
        Self { log, tiers, sweep, files, relay, feed_log, staleness_check, prefetch: prefetch.map(Arc::new) }
    }

    /// Runs all jobs periodically until `stop`.
    pub fn start(self, config: &Config, tasks: &TaskTracker, stop: &CancellationToken) {
        let jobs = Arc::new(self);
        if let Some(relay) = jobs.relay.clone() {
            let stop = stop.clone();
            tasks.spawn(async move {
                stop.cancelled().await;
                relay.stop().await;
            });
        }
        let run = |period: Duration, job: RunJob| {
            let jobs = Arc::clone(&jobs);
            every(tasks, stop, period, move || job(Arc::clone(&jobs)));
        };
        run(config.invalidation_log.poll, |jobs| Box::pin(async move { jobs.poll_invalidation_log().await }));
        run(config.sources.relay_poll, |jobs| Box::pin(async move { jobs.relay_changes().await }));
        run(config.sources.file_poll, |jobs| Box::pin(async move { jobs.look_at_files().await }));
        run(config.database.sweep_every, |jobs| Box::pin(async move { jobs.sweep().await }));
        run(LEASE_SWEEP_EVERY, |jobs| Box::pin(async move { jobs.sweep.leases().await }));
        run(config.database.access_counts_every, |jobs| Box::pin(async move { jobs.flush_access_counts().await }));
        run(PREFETCH_EVERY, |jobs| Box::pin(async move { jobs.prefetch() }));
        run(config.staleness_check.every, |jobs| Box::pin(async move { jobs.check_staleness().await }));
        run(PROBE_EVERY, |jobs| Box::pin(async move { jobs.probe_tiers().await }));
    }

    /// Applies what other instances have appended to the log, which extends this instance's lease.
    pub async fn poll_invalidation_log(&self) {
        if let Err(error) = self.log.catch_up().await {
            tracing::debug!(%error, "invalidation log not read; the next poll retries");
        }
        if let Some(feed_log) = &self.feed_log {
            feed_log.run();
        }
    }

    pub async fn relay_changes(&self) {
        if let Some(relay) = &self.relay {
            relay.run().await;
        }
    }

    /// Turns every change that was committed before this call into an invalidation, whichever instance holds the round.
    pub async fn relay_now(&self) {
        if let Some(relay) = &self.relay {
            relay.relay_now().await;
        }
    }

    pub async fn look_at_files(&self) {
        if let Some(files) = &self.files {
            files.poll().await;
        }
    }

    pub async fn check_staleness(&self) {
        if let Some(check) = &self.staleness_check {
            check.run().await;
        }
    }

    pub fn prefetch(&self) {
        if let Some(prefetch) = &self.prefetch {
            prefetch.run();
        }
    }

    pub async fn sweep(&self) {
        self.sweep.run().await;
    }

    pub async fn flush_access_counts(&self) {
        self.tiers.flush_access_counts().await;
    }

    pub async fn probe_tiers(&self) {
        self.tiers.probe().await;
    }
}

type RunJob = fn(Arc<Jobs>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs `work` every `period` until `stop`, never two runs at a time.
///
/// Each run starts up to a tenth of the period early, and the first one anywhere within it: instances that started
/// together, or that waited for the same database, do not stay in step.
fn every<F>(
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
            // Counted from the start of a run; after a longer run the next one follows at once.
            next = Instant::now() + period.mul_f64(rand::random_range(0.9..=1.0));
            if stop.run_until_cancelled(work()).await.is_none() {
                break;
            }
        }
    });
}
