//! The process: connect everything, serve, stop in order.
//!
//! [`App::connect`] opens what there is and refuses what cannot work; [`App::run`] shows the order of
//! shutdown as consecutive lines. Nothing here is global: `main` hands in settings, listener and the
//! future that ends it all.

use std::{future::Future, sync::Arc, time::Duration};

use sea_orm::{DatabaseConnection, DbErr};
use tokio::{net::TcpListener, sync::SetOnce, time::Instant};
use tokio_util::sync::CancellationToken;

use userdata_migrations::{MigrationError, Tables};

use crate::{
    aggregate::{
        Aggregator,
        ai_analysis::{AiAnalysis, AiConfigError, ResponseCache},
        guard::Guard,
        sql::SourceDatabase,
    },
    background::{self, notifications},
    cache::{
        CacheParts, TierError, UserDataCache,
        invalidation_log::{InvalidationLog, InvalidationLogError, LogValidity},
        tiers::{
            database::DatabaseTier,
            redis::{RedisTier, Subscriber},
        },
    },
    changes::{self, InstallError, Outbox},
    clock::Clock,
    config::{Config, Secret},
    database::{self, Access, Dialect, Pool},
    demo,
    grpc::{self, security::Security, service::health::Health},
    lease::Leases,
    probes,
    reload::ReloadError,
    sync::TaskTracker,
    telemetry::Telemetry,
};

/// Connections for the invalidation log alone, so that slow look-ups never delay an invalidation. Two or three are
/// in use at once; the others stand in for those that a silent network has swallowed.
const LOG_CONNECTIONS: u32 = 8;
/// One moves changes, one counts them for the statistics.
const RELAY_CONNECTIONS: u32 = 2;
/// How long the database may be out of reach at start before an instance whose sources are elsewhere
/// serves without it.
const START_WITHOUT_DATABASE: Duration = Duration::from_secs(1);
/// For opening a connection to the sources, TLS and authentication included; waiting for a busy pool is
/// not in it. Much shorter than what a source may take, so that one that hangs is known as such.
const SOURCES_CONNECT: Duration = Duration::from_secs(2);
/// How long the start waits for Redis.
const REDIS_AT_START: Duration = Duration::from_millis(300);
/// The share of the shutdown's time that is kept for access counts, Redis and pools.
const CLOSING_SHARE: f64 = 0.1;
/// For the last metrics and spans: a collector that is not there must not hold up a restart.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How often readiness is looked at: a start should not feel slow.
const READINESS_EVERY: Duration = Duration::from_millis(20);

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A database cannot be opened.
    #[error("{what} cannot be opened")]
    Database {
        /// Which one.
        what: &'static str,
        /// Why.
        #[source]
        cause: DbErr,
    },
    /// The embedded database cannot be migrated.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The demo data cannot be written.
    #[error("the demo data cannot be written")]
    Demo(#[source] DbErr),
    /// The triggers cannot be installed.
    #[error("the triggers on the sources' tables cannot be installed")]
    Triggers(#[from] InstallError),
    /// Redis is configured in a way that cannot work.
    #[error("redis.url cannot be used")]
    Redis(#[source] TierError),
    /// The AI endpoint is configured in a way that cannot work.
    #[error(transparent)]
    Ai(#[from] AiConfigError),
    /// The files for TLS or of the callers cannot be used.
    #[error("callers cannot be let in safely")]
    Security(#[from] ReloadError),
    /// The cluster agreed on another lease.
    #[error(transparent)]
    InvalidationLog(InvalidationLogError),
}

/// Why serving ended other than by shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster agreed on another lease, which was learnt after the start.
    #[error(transparent)]
    InvalidationLog(InvalidationLogError),
    /// It could not serve.
    #[error(transparent)]
    Serve(#[from] grpc::ServeError),
    /// The contract's description cannot be served: a defect of the build.
    #[error("reflection cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The service, connected.
#[derive(Debug)]
pub struct App {
    config: Config,
    telemetry: Telemetry,
    cache: Arc<UserDataCache>,
    /// Hears the other instances' hints, if there is a Redis.
    hints: Option<Subscriber>,
    clock: Clock,
    security: Security,
    pools: Vec<Pool>,
    /// Loads, and what they write behind their answers.
    loads: TaskTracker,
    /// Everything else; some of it ends only once the cache is gone.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl App {
    /// Opens databases and Redis. Waits for neither: what is down is used once it is up. The embedded
    /// database is migrated, and seeded if the demo is on.
    pub async fn connect(config: Config, telemetry: Telemetry) -> Result<Self, StartError> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        // First: a mistake in it is found before anything is touched.
        let security = Security::of(&config, &tasks, &stop)?;
        prepare(&config).await?;
        let (clock, loads) = (Clock::system(), TaskTracker::new());
        let meter = telemetry.meter();
        let cache_pool = open(
            "the cache's database (database.url)",
            &config.database.url,
            &options(Access::ReadWrite, config.database.max_connections, config.database.timeout),
        )
        .await?;
        let log_pool = open(
            "the invalidation log (database.url)",
            &config.database.url,
            &options(Access::ReadWrite, LOG_CONNECTIONS, config.database.timeout),
        )
        .await?;
        let sources_url = config.sources.database_url.as_ref().unwrap_or(&config.database.url);
        let sources_pool = open(
            "the sources' database (sources.database_url)",
            sources_url,
            &database::Options {
                acquire_timeout: SOURCES_CONNECT.min(config.sources.hard_timeout),
                ..options(Access::ReadOnly, config.sources.max_connections, config.sources.hard_timeout)
            },
        )
        .await?;

        let rows = DatabaseTier::new(cache_pool.clone(), &config.database, clock.clone());
        let leases = Leases::new(
            cache_pool.clone(),
            &config.load_lease,
            config.database.timeout,
            clock.clone(),
            tasks.clone(),
            stop.clone(),
        );
        let leases = Arc::new(leases.heeding(rows.reach()));
        let ai_guard = Guard::new("ai_analysis", &config.sources, clock.clone()).with_metrics(&meter);
        let responses = ResponseCache::new(cache_pool.clone());
        let ai = AiAnalysis::new(&config.ai, ai_guard, responses, Arc::clone(&leases), clock.clone(), tasks.clone())?;
        let sources = SourceDatabase::new(sources_pool.clone(), config.sources.column_bytes_max);
        let invalidation_log = InvalidationLog::new(
            log_pool.clone(),
            config.fence.clone(),
            config.database.timeout,
            clock.clone(),
            &tasks,
        );
        match invalidation_log.catch_up().await {
            Err(error @ InvalidationLogError::Lease { .. }) => return Err(StartError::InvalidationLog(error)),
            // The database may be down or not migrated yet, which serving waits for.
            Err(_) => refuse_older_tables(&log_pool).await?,
            Ok(_) => {}
        }
        let (redis, hints) = match &config.redis.url {
            Some(_) => {
                let hints = Subscriber::connect(&config.redis).map_err(StartError::Redis)?;
                let redis = RedisTier::connect(&config.redis, clock.clone()).map_err(StartError::Redis)?;
                // So that the first request finds it if it is there; nobody waits for one that is not.
                redis.connected_within(REDIS_AT_START).await;
                (Some(redis), Some(hints))
            }
            None => (None, None),
        };
        let relay_url = match &config.sources {
            sources if !sources.change_feed => None,
            sources if sources.database_url.is_some() => sources.relay_database_url.as_ref(),
            _ => Some(&config.database.url),
        };
        let relay_pool = match relay_url {
            // Patient: it holds rows of the outbox while their fences are committed.
            Some(url) => {
                let options = options(Access::ReadWrite, RELAY_CONNECTIONS, config.sources.hard_timeout);
                Some(open("the outbox (sources.relay_database_url)", url, &options).await?)
            }
            None => None,
        };
        let parts = CacheParts {
            outbox: relay_pool.clone().map(Outbox::new),
            invalidation_log,
            leases,
            redis,
            database: rows,
            aggregator: Aggregator::new(sources, ai, &config.sources, clock.clone()),
            clock: clock.clone(),
            stop: stop.clone(),
            meter: meter.clone(),
            config: config.clone(),
        };
        let cache = Arc::new(UserDataCache::new(parts, &loads));
        cache.observe(&meter);
        let pools = [("cache", cache_pool), ("fences", log_pool), ("sources", sources_pool)];
        let pools: Vec<_> = pools.into_iter().chain(relay_pool.map(|pool| ("outbox", pool))).collect();
        database::observe(&pools, &meter);
        let pools = pools.into_iter().map(|(_, pool)| pool).collect();
        Ok(Self { config, telemetry, cache, hints, clock, security, pools, loads, tasks, stop })
    }

    /// What it serves from, for whoever measures it without a network.
    #[must_use]
    pub fn cache(&self) -> Arc<UserDataCache> {
        Arc::clone(&self.cache)
    }

    /// Serves until `shutdown` and `server.drain_delay` longer, then stops within `server.drain`.
    pub async fn run(
        self,
        listener: TcpListener,
        probes_listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), RunError> {
        let Self { config, telemetry, cache, hints, clock, security, pools, loads, tasks, stop } = self;
        let (told, refused) = (Arc::new(SetOnce::new()), Arc::new(SetOnce::new()));
        let server =
            grpc::Server::new(Arc::clone(&cache), &config.server, security, clock, tasks.clone(), &telemetry).await?;
        let shutdown = {
            let told = Arc::clone(&told);
            let (cache, refused) = (Arc::clone(&cache), Arc::clone(&refused));
            let (health, delay) = (server.health(), config.server.drain_delay);
            let leaving = async move {
                shutdown.await;
                // Whoever has not noticed yet still sends requests here.
                health.leaving().await;
                tokio::time::sleep(delay).await;
            };
            async move {
                tokio::select! {
                    () = leaving => {}
                    error = async move { cache.invalidation_log().lease_conflict().await } => refused.set(error).expect("set here only"),
                }
                told.set(Instant::now()).expect("set here only");
            }
        };
        background::Jobs::new(&cache).start(&config, &tasks, &stop);
        if let Some(subscriber) = hints {
            tasks.spawn(notifications::listen(Arc::clone(cache.invalidation_log()), subscriber, stop.clone()));
        }
        let sources_elsewhere = config.sources.database_url.is_some();
        probes::serve(probes_listener, server.health(), telemetry.scrape(), &tasks, &stop);
        tasks.spawn(report_ready(Arc::clone(&cache), server.health(), sources_elsewhere, stop.clone()));

        // Until told: health says NOT_SERVING, and after the delay the listener closes and running requests finish.
        let served = server.serve(listener, shutdown).await;

        // What the requests have left of it; all of it if they ended for another reason.
        let until = told.get().copied().unwrap_or_else(Instant::now) + config.server.drain;
        let stopping = async {
            stop.cancel();
            loads.close();
            // Order: they store what they have, which access counts are added to.
            if tokio::time::timeout_at(until - config.server.drain.mul_f64(CLOSING_SHARE), loads.wait()).await.is_err()
            {
                tracing::warn!(loads = loads.len(), "some loads did not end in time and are given up");
            }
            // Order: the last metrics are read while there is a cache.
            let flush_max = FLUSH_MAX.min(config.server.drain.mul_f64(CLOSING_SHARE / 2.0));
            tokio::join!(telemetry.stop(flush_max), cache.close());
            drop(cache);
            tasks.close();
            tasks.wait().await;
            for pool in pools {
                pool.close().await;
            }
        };
        if tokio::time::timeout_at(until, stopping).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "some tasks did not end in time and are given up");
        }
        if let Some(error) = refused.get() {
            return Err(RunError::InvalidationLog(error.clone()));
        }
        match served {
            // Said in the log; the process that was told to end has done so in time.
            Err(grpc::ServeError::CutOff(_)) => Ok(()),
            served => Ok(served?),
        }
    }
}

/// As many as an instance opens there at most.
pub(crate) fn connections_to_cache_database(config: &Config) -> u32 {
    let sources = &config.sources;
    let shared = sources.database_url.is_none();
    let relay = if shared && sources.change_feed { RELAY_CONNECTIONS } else { 0 };
    let of_sources = if shared { sources.max_connections } else { 0 };
    config.database.max_connections + LOG_CONNECTIONS + of_sources + relay
}

fn options(access: Access, max_connections: u32, timeout: Duration) -> database::Options {
    database::Options {
        access,
        application_name: "userdata".to_owned(),
        max_connections,
        acquire_timeout: timeout,
        statement_timeout: 2 * timeout,
    }
}

async fn open(what: &'static str, url: &Secret, options: &database::Options) -> Result<Pool, StartError> {
    Pool::open(url.expose(), options).await.map_err(|cause| StartError::Database { what, cause })
}

/// Tables of an older version will not become usable by waiting.
async fn refuse_older_tables(cache: &Pool) -> Result<(), StartError> {
    match userdata_migrations::refuse_unusable(cache, Tables::Cache).await {
        Err(error @ MigrationError::BeforeFirstRelease { .. }) => Err(error.into()),
        _ => Ok(()),
    }
}

/// A single connection that may write, to migrate or to seed. It is opened at once: nothing can be done without it.
pub async fn open_for_upkeep(
    what: &'static str,
    url: &Secret,
    timeout: Duration,
) -> Result<DatabaseConnection, StartError> {
    let options = options(Access::ReadWrite, 1, timeout);
    database::connect(url.expose(), &options).await.map_err(|cause| StartError::Database { what, cause })
}

/// The embedded database belongs to this process: it is migrated. The demo, which has to be asked
/// for, brings its tables and rows to whichever database the sources share with the cache.
async fn prepare(config: &Config) -> Result<(), StartError> {
    let url = &config.database.url;
    let shared = config.sources.database_url.is_none();
    let seeding = config.demo.enabled && shared;
    if !(Dialect::of_url(url.expose()).is_sqlite() || seeding) {
        return Ok(());
    }
    // Not the cache's pool, whose limits are made for look-ups.
    let database = open_for_upkeep("the cache's database (database.url)", url, config.sources.hard_timeout).await?;
    let tables = if shared { Tables::CacheAndSources } else { Tables::Cache };
    for name in userdata_migrations::up(&database, tables).await? {
        tracing::info!(name, "migrated");
    }
    if seeding && demo::sources_are_empty(&database).await.map_err(StartError::Demo)? {
        let options = demo::SeedOptions::on(config.demo.as_of.unwrap_or_else(|| Clock::system().utc().date_naive()));
        let seeded = demo::seed(&database, &options, |_, _| {}).await.map_err(StartError::Demo)?;
        tracing::info!(users = seeded.users, rows = seeded.rows, "seeded the demo data");
    }
    // Last: what is seeded concerns nobody yet.
    if shared && config.sources.change_feed {
        changes::install_if_outdated(&database).await?;
    }
    let _ = database.close().await;
    Ok(())
}

/// Reports SERVING once the invalidation log can be read, which a migrated database allows; or, when the
/// sources are elsewhere, once it was out of reach for a moment.
async fn report_ready(cache: Arc<UserDataCache>, health: Health, sources_elsewhere: bool, stop: CancellationToken) {
    let began = Instant::now();
    let mut told = false;
    loop {
        let readable = cache.invalidation_log().validity() != LogValidity::Expired;
        if readable || (sources_elsewhere && began.elapsed() > START_WITHOUT_DATABASE) {
            health.serving().await;
            tracing::info!(readable, "ready");
            return;
        }
        if !told && began.elapsed() > START_WITHOUT_DATABASE {
            told = true;
            if let Err(error) = cache.invalidation_log().catch_up().await {
                tracing::warn!(
                    %error,
                    "not serving: the cache's database cannot be read yet. Is it up, and has `userdata migrate up` been run? Serving begins by itself."
                );
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(READINESS_EVERY)).await.is_none() {
            return;
        }
    }
}
