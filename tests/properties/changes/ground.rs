//! The demo's tables with triggers on them, two instances that share a cache beside them, and a writer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, Statement};
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
        tiers::database::DatabaseTier,
    },
    changes::{self, Outbox},
    clock::Clock,
    config::Config,
    database::Pool,
    fault::{Faults, Gauge},
    lease::Leases,
    model::Section,
    proto::v1::StalenessCheckStats,
    telemetry::Meter,
};
use userdata_migrations::begin_alone;

use super::{tables::TABLES, writes::Change};
use testkit::database::{Kind, TestDatabase, demo_database_of, execute, today};

/// What changes of the sources concern: sections by user.
pub(super) type Concerned = BTreeMap<String, BTreeSet<i32>>;

/// All that a case has.
pub(super) struct Ground {
    pub(super) kind: Kind,
    /// The writer's.
    pub(super) db: DatabaseConnection,
    pub(super) members: Vec<Member>,
    /// The sources as they are, without a cache.
    pub(super) sources: Aggregator,
    pub(super) clock: Clock,
    _place: TestDatabase,
}

/// An instance without a server before it and without anything periodic.
pub(super) struct Member {
    pub(super) cache: Arc<UserDataCache>,
    pub(super) jobs: Jobs,
    pub(super) faults: Faults,
    pub(super) gauge: Gauge,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Limits that a busy machine does not reach.
fn patient() -> Config {
    let minute = Duration::from_secs(60);
    let mut config = Config::default();
    config.database.timeout = minute;
    config.invalidation_log.renew_timeout = minute;
    config.sources.soft_timeout = minute;
    config.sources.hard_timeout = minute;
    config.loads.budget = 2 * minute;
    config.load_lease.takeover = minute;
    config.load_lease.wait_max = 2 * minute;
    // Every hit, when a step says so.
    config.staleness_check.share = 1.0;
    config
}

impl Ground {
    pub(super) async fn open(kind: Kind) -> Self {
        let place = demo_database_of(kind, today()).await;
        let db = place.connect().await;
        changes::install(&db).await.unwrap();
        let watched: BTreeSet<&str> = changes::status(&db).await.unwrap().iter().map(|state| state.table).collect();
        assert_eq!(watched, TABLES.iter().map(|table| table.name).collect(), "every table that is watched is written");
        let clock = Clock::system();
        let sources = aggregator(&patient(), &place, clock.clone()).await;
        let members = vec![Member::start(&place).await, Member::start(&place).await];
        let ground = Self { kind, db, members, sources, clock, _place: place };
        ground.relay_everywhere().await;
        ground
    }

    /// Every member knows the outbox as it is. The first reading of a cluster, and another state of the triggers, outdate
    /// what is cached.
    pub(super) async fn relay_everywhere(&self) {
        for member in &self.members {
            member.jobs.relay_now().await;
            member.cache.invalidation_log().catch_up().await.unwrap();
        }
    }

    /// Carries changes out, in one transaction; whom they concern. None: the database refused one of them, so that none
    /// was made.
    pub(super) async fn commit(&mut self, changes: &[Change], keep: bool) -> Option<Concerned> {
        let transaction = begin_alone(&self.db).await.unwrap();
        let mut concerned = Concerned::new();
        for change in changes {
            self.concern(&transaction, change, &mut concerned).await;
            if transaction.execute_unprepared(&change.sql).await.is_err() {
                transaction.rollback().await.unwrap();
                return None;
            }
            self.concern(&transaction, change, &mut concerned).await;
        }
        if keep {
            transaction.commit().await.unwrap();
            Some(concerned)
        } else {
            transaction.rollback().await.unwrap();
            Some(Concerned::new())
        }
    }

    /// The owners of the rows that a change is about to touch, or has touched.
    async fn concern(&self, transaction: &DatabaseTransaction, change: &Change, concerned: &mut Concerned) {
        if !change.matters {
            return;
        }
        let table = change.table;
        let owners = format!("SELECT DISTINCT {} AS owner FROM {} r WHERE {}", table.owner, table.name, change.rows);
        let owners = transaction.query_all_raw(Statement::from_string(self.db.get_database_backend(), owners)).await;
        for row in owners.unwrap() {
            let Some(owner) = row.try_get::<Option<String>>("", "owner").unwrap() else { continue };
            concerned.entry(owner).or_default().extend(table.sections.iter().map(|section: &Section| *section as i32));
        }
    }

    /// Runs a statement.
    pub(super) async fn run(&self, sql: &str) {
        execute(&self.db, sql).await;
    }

    /// The single value of a statement; none if there is no row.
    pub(super) async fn number(&self, sql: &str) -> Option<i64> {
        let row = self.db.query_one_raw(Statement::from_string(self.db.get_database_backend(), sql)).await.unwrap()?;
        row.try_get_by_index::<Option<i64>>(0).unwrap()
    }

    pub(super) async fn close(self) {
        for member in self.members {
            member.faults.end();
            member.stop.cancel();
            member.cache.close().await;
            member.tasks.close();
        }
    }
}

impl Member {
    /// What the comparisons have found.
    pub(super) async fn inspected(&self) -> StalenessCheckStats {
        self.cache.stats(1).await.unwrap().staleness_check.unwrap()
    }

    async fn start(place: &TestDatabase) -> Self {
        let (config, clock, gauge) = (patient(), Clock::system(), Gauge::default());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (cache_pool, log_pool) = (Pool::from(place.connect().await), Pool::from(place.connect().await));
        let (relay_pool, sources_pool) = (place.connect().await.into(), place.connect_read_only().await.into());
        let faults = Faults::new(&gauge);
        let cache = faults.during(|| {
            let timeout = config.database.timeout;
            let rows = DatabaseTier::new(cache_pool.clone(), &config.database, clock.clone());
            let leases = Leases::new(
                cache_pool.clone(),
                &config.load_lease,
                timeout,
                clock.clone(),
                tasks.clone(),
                stop.clone(),
            );
            let leases = Arc::new(leases.heeding(rows.reach()));
            let parts = CacheParts {
                invalidation_log: InvalidationLog::new(
                    LogPools { reads: log_pool.clone(), commits: log_pool },
                    config.invalidation_log.clone(),
                    timeout,
                    clock.clone(),
                    &tasks,
                ),
                leases: Arc::clone(&leases),
                redis: None,
                database: rows,
                user_keys: None,
                aggregator: assembled(&config, &cache_pool, &sources_pool, leases, &clock),
                outbox: Some(Outbox::new(relay_pool)),
                clock: clock.clone(),
                stop: stop.clone(),
                meter: Meter::none(),
                config: config.clone(),
            };
            Arc::new(UserDataCache::new(parts, &tasks))
        });
        cache.invalidation_log().catch_up().await.unwrap();
        let jobs = Jobs::new(&cache);
        Self { cache, jobs, faults, gauge, tasks, stop }
    }
}

/// The sources, with the rules for an AI.
async fn aggregator(config: &Config, place: &TestDatabase, clock: Clock) -> Aggregator {
    let pool = Pool::from(place.connect_read_only().await);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let leases = Leases::new(pool.clone(), &config.load_lease, Duration::ZERO, clock.clone(), tasks, stop);
    assembled(config, &pool, &pool, leases.into(), &clock)
}

fn assembled(
    config: &Config,
    cache_pool: &Pool,
    sources_pool: &Pool,
    leases: Arc<Leases>,
    clock: &Clock,
) -> Aggregator {
    let guard = Guard::new("ai_analysis", &config.sources, clock.clone());
    let (responses, tasks) = (ResponseCache::new(cache_pool.clone()), TaskTracker::new());
    let ai = AiAnalysis::new(&config.ai, guard, responses, leases, clock.clone(), tasks).unwrap();
    let sources = SourceDatabase::new(sources_pool.clone(), config.sources.column_bytes_max);
    Aggregator::new(sources, ai, &config.sources, clock.clone())
}
