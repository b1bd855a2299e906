//! The process: connect everything, serve, stop in order.
//!
//! [`App::connect`] opens databases, cache and server, and refuses a configuration that cannot work. [`App::run`] shows
//! the order of shutdown as consecutive lines. Nothing is global: `main` passes settings, listeners and the future that
//! ends it.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::SetOnce, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    aggregate::{
        Aggregator, FileSources, SourcePlace,
        ai_analysis::{AiAnalysis, ResponseCache},
        guard::Guard,
        sql::{Replication, SourceDatabase},
    },
    background::{self, notifications},
    cache::{
        CacheParts, UserDataCache,
        invalidation_log::{InvalidationLog, InvalidationLogError},
        tiers::{
            database::DatabaseTier,
            redis::{RedisTier, Subscriber},
        },
    },
    changes::Outbox,
    clock::Clock,
    config::{Config, RedisSettings},
    grpc::{self, security::Security, service::health::Health},
    http,
    lease::Leases,
    privacy::{MasterKeys, UserKeys},
    probes,
    sync::TaskTracker,
    telemetry::Telemetry,
    user_files::UserFiles,
};
use databases::Databases;

mod databases;
pub(crate) mod descriptors;
mod error;
mod readiness;

pub use databases::connect_single;
pub(crate) use databases::{connect_keys, connections_to_cache_database, keys_options};
pub use error::{RunError, StartError};

/// How long the start waits for Redis.
const REDIS_AT_START: Duration = Duration::from_millis(300);
/// The share of the shutdown's time for access counts, Redis and pools.
const CLOSING_SHARE: f64 = 0.1;
/// For the last metrics and spans: a collector that is down must not delay a restart.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The service, connected.
#[derive(Debug)]
pub struct App {
    config: Config,
    telemetry: Telemetry,
    databases: Databases,
    cache: Arc<UserDataCache>,
    /// Receives the notifications of other instances. None: no Redis.
    subscriber: Option<Subscriber>,
    server: grpc::Server,
    /// None: no HTTP.
    http: Option<http::HttpServer>,
    background: Background,
}

/// The ports of an instance, bound.
#[derive(Debug)]
pub struct Listeners {
    pub grpc: TcpListener,
    /// If `http.listen` is set.
    pub http: Option<TcpListener>,
    pub probes: TcpListener,
}

/// What runs beside requests, and how it is stopped.
#[derive(Clone, Debug, Default)]
struct Background {
    /// Loads, and their writes behind the answers.
    loads: TaskTracker,
    /// Everything else. Some of it ends only after the cache is dropped.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl App {
    /// Opens databases, cache and server. Waits for neither databases nor Redis: they are used once they are up. The
    /// embedded database is migrated, and seeded if the demo is on.
    pub async fn connect(config: Config, telemetry: Telemetry) -> Result<Self, StartError> {
        let (background, clock) = (Background::default(), Clock::system());
        let (tasks, stop) = (&background.tasks, &background.stop);
        // First: a mistake in these files is found before a database is changed.
        let security = Security::of(&config, tasks, stop).await?;
        let masters = read_masters(&config).await?;
        databases::prepare(&config).await?;

        let databases = Databases::open(&config).await?;
        databases.refuse_poolers(&config).await?;
        let user_keys = connect_user_keys(&config, &databases, masters, &clock).await?;
        let (redis, subscriber) = connect_redis(&config.redis, &clock).await?;
        let cache = connect_cache(&config, &telemetry, &databases, redis, user_keys, &clock, &background).await?;
        let server =
            grpc::Server::new(Arc::clone(&cache), &config.server, security, clock.clone(), tasks.clone(), &telemetry)
                .await?;
        let http = config.http.listen.is_some();
        let http = http.then(|| http::HttpServer::beside(&server, &cache, &config, clock, &telemetry.meter()));

        cache.observe(&telemetry.meter());
        databases.observe(&telemetry.meter());
        Ok(Self { config, telemetry, databases, cache, subscriber, server, http, background })
    }

    /// The cache, for measurements without a network.
    #[must_use]
    pub fn cache(&self) -> Arc<UserDataCache> {
        Arc::clone(&self.cache)
    }

    /// Serves until `shutdown` and `server.drain_delay` longer, then stops within `server.drain`.
    pub async fn run(
        self,
        listeners: Listeners,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), RunError> {
        let Self { config, telemetry, databases, cache, subscriber, server, http, background } = self;
        let Background { loads, tasks, stop } = background;
        let cause = Arc::new(StopCause::default());
        let leaving = leave(shutdown, server.health(), config.server.drain_delay);
        let shutdown = stop_accepting(leaving, Arc::clone(&cache), Arc::clone(&cause));
        background::Jobs::new(&cache).start(&config, &tasks, &stop);
        if let Some(subscriber) = subscriber {
            tasks.spawn(notifications::listen(Arc::clone(cache.invalidation_log()), subscriber, stop.clone()));
        }
        let sources_elsewhere = config.sources.database_url.is_some();
        let weak = Arc::downgrade(&cache);
        probes::serve(listeners.probes, server.health(), weak, telemetry.scrape(), &tasks, &stop);
        tasks.spawn(readiness::report_ready(Arc::clone(&cache), server.health(), sources_elsewhere, stop.clone()));

        // On shutdown: health says NOT_SERVING, and after the delay the listener closes and requests in progress finish.
        let beside = async {
            if let (Some(http), Some(listener)) = (http, listeners.http) {
                http.serve(listener).await;
            }
        };
        let served = server.serve(listeners.grpc, beside, shutdown).await;

        // The time that requests have left of it; all of it if they ended for another reason.
        let until = cause.at.get().copied().unwrap_or_else(Instant::now) + config.server.drain;
        let stopping = async {
            stop.cancel();
            loads.close();
            // Order: loads store their documents before access counts are added to the rows.
            if tokio::time::timeout_at(until - config.server.drain.mul_f64(CLOSING_SHARE), loads.wait()).await.is_err()
            {
                tracing::warn!(loads = loads.len(), "loads did not end in time; they are aborted");
            }
            // Order: the last metrics are read from the cache.
            let flush_max = FLUSH_MAX.min(config.server.drain.mul_f64(CLOSING_SHARE / 2.0));
            tokio::join!(telemetry.stop(flush_max), cache.close());
            drop(cache);
            tasks.close();
            tasks.wait().await;
            databases.close().await;
        };
        if tokio::time::timeout_at(until, stopping).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "tasks did not end in time; they are aborted");
        }
        if let Some(error) = cause.conflict.get() {
            return Err(RunError::InvalidationLog(error.clone()));
        }
        match served {
            // The log says so. Shutdown itself was in time.
            Err(grpc::ServeError::CutOff(_)) => Ok(()),
            served => Ok(served?),
        }
    }
}

/// When and why the server stopped accepting requests.
#[derive(Debug, Default)]
struct StopCause {
    at: SetOnce<Instant>,
    /// The cluster agreed on another lease.
    conflict: SetOnce<InvalidationLogError>,
}

async fn leave(shutdown: impl Future<Output = ()>, health: Health, delay: Duration) {
    shutdown.await;
    // Clients that have not noticed yet still send requests.
    health.leaving().await;
    tokio::time::sleep(delay).await;
}

async fn stop_accepting(leaving: impl Future<Output = ()>, cache: Arc<UserDataCache>, cause: Arc<StopCause>) {
    tokio::select! {
        () = leaving => {}
        // Owns the cache: it is dropped with this future.
        error = async move { cache.invalidation_log().lease_conflict().await } => {
            cause.conflict.set(error).expect("set here only");
        }
    }
    cause.at.set(Instant::now()).expect("set here only");
}

fn connect_sources(config: &Config, databases: &Databases, clock: &Clock) -> Result<SourcePlace, StartError> {
    let column_bytes_max = config.sources.column_bytes_max;
    if let Some(shared) = &databases.sources {
        let shared = SourceDatabase::new(shared.clone(), column_bytes_max);
        // The cache's own database takes writes, so it is no replica.
        let elsewhere = config.sources.database_url.is_some();
        let replication =
            elsewhere.then(|| Replication::new(databases.sources_primary.clone(), config.sources.replica_wait));
        return Ok(shared.behind(replication).into());
    }
    let places = config.sources.files().unwrap_or_default();
    let files = UserFiles::open(&config.sources, places, clock.clone())?;
    Ok(FileSources::new(files, column_bytes_max).into())
}

async fn connect_redis(
    config: &RedisSettings,
    clock: &Clock,
) -> Result<(Option<RedisTier>, Option<Subscriber>), StartError> {
    if config.url.is_none() {
        return Ok((None, None));
    }
    let subscriber = Subscriber::connect(config).await.map_err(StartError::Redis)?;
    let redis = RedisTier::connect(config, clock.clone()).await.map_err(StartError::Redis)?;
    // So that the first request can use it.
    if !redis.connected_within(REDIS_AT_START).await {
        let error = redis.not_connected().line();
        tracing::warn!(error, "redis is not connected yet; requests skip it until it is");
    }
    Ok((Some(redis), Some(subscriber)))
}

async fn read_masters(config: &Config) -> Result<Option<MasterKeys>, StartError> {
    let Some(file) = &config.privacy.master_key_file else { return Ok(None) };
    Ok(Some(MasterKeys::read(file).await?))
}

async fn connect_user_keys(
    config: &Config,
    databases: &Databases,
    masters: Option<MasterKeys>,
    clock: &Clock,
) -> Result<Option<Arc<UserKeys>>, StartError> {
    let (Some(pool), Some(masters)) = (&databases.keys, masters) else { return Ok(None) };
    databases::refuse_keys(&config.privacy, pool, &masters).await?;
    Ok(Some(Arc::new(UserKeys::new(pool.clone(), masters, &config.privacy, clock.clone()))))
}

/// Where this process runs: after it another one may. None if the system chooses the port.
fn place(config: &Config) -> Option<String> {
    let listen = config.server.listen;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    (listen.port() != 0).then(|| format!("{} {listen}", host.trim()))
}

async fn connect_cache(
    config: &Config,
    telemetry: &Telemetry,
    databases: &Databases,
    redis: Option<RedisTier>,
    user_keys: Option<Arc<UserKeys>>,
    clock: &Clock,
    Background { loads, tasks, stop }: &Background,
) -> Result<Arc<UserDataCache>, StartError> {
    let (timeout, meter) = (config.database.timeout, telemetry.meter());
    let log_config = config.invalidation_log.clone();
    let invalidation_log = InvalidationLog::new(databases.log(), log_config, timeout, clock.clone(), tasks);
    match invalidation_log.catch_up().await {
        Err(error @ InvalidationLogError::Lease { .. }) => return Err(StartError::InvalidationLog(error)),
        // The database may be down or not migrated yet; serving waits for that.
        Err(_) => databases.refuse_older_tables().await?,
        Ok(_) => {}
    }
    let database = DatabaseTier::new(databases.cache.clone(), &config.database, clock.clone());
    let leases =
        Leases::new(databases.cache.clone(), &config.load_lease, timeout, clock.clone(), tasks.clone(), stop.clone());
    let leases = leases.heeding(database.reach());
    let leases = Arc::new(match place(config) {
        Some(place) => leases.at(&place),
        None => leases,
    });
    // Best effort: without it, the first asker waits for the heartbeats of the process that was here before.
    let _ = tokio::time::timeout(timeout, leases.release_predecessors()).await;
    let ai_guard = Guard::new("ai_analysis", &config.sources, clock.clone()).with_metrics(&meter);
    let responses =
        ResponseCache::new(databases.cache.clone()).encrypted_by(user_keys.clone().filter(|_| config.privacy.encrypt));
    let ai = AiAnalysis::new(&config.ai, ai_guard, responses, Arc::clone(&leases), clock.clone(), tasks.clone())?;
    let sources = connect_sources(config, databases, clock)?;
    let parts = CacheParts {
        outbox: databases
            .outbox
            .clone()
            .map(|pool| Outbox::new(pool).with_backlog_max(config.sources.backlog_max.into())),
        invalidation_log,
        leases,
        redis,
        database,
        user_keys,
        aggregator: Aggregator::new(sources, ai, &config.sources, clock.clone()),
        clock: clock.clone(),
        stop: stop.clone(),
        meter,
        config: config.clone(),
    };
    let cache = Arc::new(UserDataCache::new(parts, loads));
    // So that the first request can use Redis.
    cache.invalidation_log().keep_witness().await;
    Ok(cache)
}
