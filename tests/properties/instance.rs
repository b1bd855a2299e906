//! One instance: what `App::connect` puts together, without a server before it and without anything periodic.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use futures::{FutureExt as _, poll};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use userdata::{
    aggregate::{
        Aggregator,
        ai_analysis::{AiAnalysis, ResponseCache},
        guard::Guard,
        sql::SourceDatabase,
    },
    background::Jobs,
    cache::{
        CacheParts, UserDataCache,
        invalidation_log::{InvalidationLog, LogPools},
        tiers::{database::DatabaseTier, redis::RedisTier},
    },
    clock::Clock,
    config::{self, Config, Secret},
    fault::{Faults, Gauge},
    lease::Leases,
    telemetry::Meter,
};

use crate::world::World;

/// Long beside the time that a case really takes, so that only steps make it lapse.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// A tick of three leases is longer: then a holder is taken for dead.
const TAKEOVER: Duration = Duration::from_millis(10_500);
/// At every second short tick, and not at the one at which an instance without a heartbeat is taken over: that would be a race.
const HEARTBEAT: Duration = Duration::from_millis(1500);
/// fred waits that long before its first attempt to connect, at most.
const BEFORE_CONNECTING: Duration = Duration::from_millis(200);
/// In real time.
const CONNECTS_WITHIN: Duration = Duration::from_millis(500);
/// More than any chain of tasks that wake each other is long.
pub(crate) const YIELDS: usize = 24;
/// Nothing waits so long in a case.
const NEVER: Duration = Duration::from_secs(3600);

/// A running instance.
pub(crate) struct Instance {
    pub(crate) cache: Arc<UserDataCache>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) faults: Faults,
    /// Owns the loads, and whatever else it runs.
    pub(crate) tasks: TaskTracker,
    stop: CancellationToken,
}

fn config(world: &World) -> Config {
    let seconds = Duration::from_secs;
    let mut config = Config::default();
    config.redis.url = Some(Secret::new(world.redis_url.as_str()));
    config.invalidation_log = config::InvalidationLogSettings {
        poll: LEASE / 5,
        lease: LEASE,
        unverified_max: 4 * LEASE,
        // Fewer than the scopes that a case can invalidate, so that some are pruned.
        scopes_max: 4,
        ..config::InvalidationLogSettings::default()
    };
    config.load_lease = config::LoadLeaseSettings {
        heartbeat: HEARTBEAT,
        takeover: TAKEOVER,
        poll: LEASE / 10,
        wait_max: seconds(90),
        ..config::LoadLeaseSettings::default()
    };
    // Longer than a short tick: what is held has not failed yet.
    config.database.timeout = seconds(2);
    config.loads.budget = seconds(60);
    config.sources.soft_timeout = seconds(40);
    config.sources.hard_timeout = seconds(50);
    config
}

impl Instance {
    pub(crate) async fn start(world: &World, clock: &Clock, gauge: &Gauge) -> Self {
        Self::start_with(world, clock, gauge, |_| {}).await
    }

    /// With other settings.
    pub(crate) async fn start_with(
        world: &World,
        clock: &Clock,
        gauge: &Gauge,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config(world);
        configure(&mut config);
        let faults = Faults::new(gauge);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let redis = faults.during(|| RedisTier::connect(&config.redis, clock.clone()).now_or_never());
        let redis = redis.expect("without files it waits for nothing").unwrap();
        connect(&redis, clock).await;
        let cache = faults.during(|| {
            let guard = Guard::new("ai_analysis", &config.sources, clock.clone());
            let responses = ResponseCache::new(world.cache_pool.clone());
            let sources = SourceDatabase::new(world.sources_pool.clone(), config.sources.column_bytes_max);
            let timeout = config.database.timeout;
            let rows = DatabaseTier::new(world.cache_pool.clone(), &config.database, clock.clone());
            let leases = Leases::new(
                world.cache_pool.clone(),
                &config.load_lease,
                timeout,
                clock.clone(),
                tasks.clone(),
                stop.clone(),
            );
            let leases = Arc::new(leases.heeding(rows.reach()));
            let ai = AiAnalysis::new(&config.ai, guard, responses, Arc::clone(&leases), clock.clone(), tasks.clone());
            let invalidation_log = InvalidationLog::new(
                LogPools { reads: world.log_pool.clone(), commits: world.log_pool.clone() },
                config.invalidation_log.clone(),
                timeout,
                clock.clone(),
                &tasks,
            );
            let parts = CacheParts {
                invalidation_log,
                leases,
                redis: Some(redis),
                database: rows,
                user_keys: None,
                aggregator: Aggregator::new(sources, ai.unwrap(), &config.sources, clock.clone()),
                outbox: None,
                clock: clock.clone(),
                stop: stop.clone(),
                meter: Meter::none(),
                config: config.clone(),
            };
            Arc::new(UserDataCache::new(parts, &tasks))
        });
        let _ = cache.invalidation_log().catch_up().await;
        let jobs = Arc::new(Jobs::new(&cache));
        Self { cache, jobs, faults, tasks, stop }
    }

    /// Lets its tasks end; what they still try fails.
    pub(crate) async fn end(self) {
        self.faults.end();
        self.stop.cancel();
        let mut closing = pin!(self.cache.close());
        while poll!(closing.as_mut()).is_pending() {
            // A write that finds the file busy waits for time to pass.
            tokio::task::yield_now().await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }
}

/// The clock stands still, and fred waits for it. Moved once, and again if that was too early: on a busy machine fred
/// may begin to wait only afterwards.
async fn connect(redis: &RedisTier, clock: &Clock) {
    let (mut connected, real) = (pin!(redis.connected_within(NEVER)), Clock::system());
    loop {
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
        move_on(clock, BEFORE_CONNECTING).await;
        let patience = real.now().after(CONNECTS_WITHIN);
        while real.now() < patience {
            if let Poll::Ready(connected) = poll!(connected.as_mut()) {
                return assert!(connected, "Redis is there");
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Moves both clocks: the one that leases and ages are counted by, and tokio's, which timers go by.
pub(crate) async fn move_on(clock: &Clock, by: Duration) {
    clock.advance(by);
    tokio::time::advance(by).await;
}
