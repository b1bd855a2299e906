//! The core of this service, as `App::connect` assembles it, without a server. It uses one SQLite file with the
//! sources' tables and triggers, and an AI endpoint that counts its calls.
//!
//! Decision: the clock is moved to each event, and the effects of an event end before the next one. So the clock runs a
//! few milliseconds ahead of the trace where events come faster than they are processed, never behind. Commits are not
//! synced: power loss is not measured.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

use prost::Message as _;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;
use tokio::time::Instant;
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
        CacheParts, ReadOptions, UserDataCache,
        invalidation_log::{InvalidationLog, LogPools},
        tiers::database::DatabaseTier,
    },
    changes::{self, Outbox},
    clock::{Clock, Moment},
    config::{Config, PrefetchSettings},
    database::Pool,
    lease::Leases,
    model::{CacheStatus, Parameters, Served, UserDataQuery, UserId},
    proto::v1::ComprehensiveUserData,
    telemetry::Meter,
};
use userdata_migrations::{Tables, up};

use super::{
    score::{Answer, Score},
    trace::{Event, Kind},
};
use testkit::ai::{FakeAi, Say, valid_answer};

/// An instance, and the number of changes of each user's sources.
pub(crate) struct Core {
    cache: Arc<UserDataCache>,
    jobs: Jobs,
    db: DatabaseConnection,
    ai: FakeAi,
    clock: Clock,
    began: Moment,
    loads: TaskTracker,
    versions: Vec<Versions>,
    quiet: Duration,
    /// When a user's changes may be due, and which user's.
    due: BinaryHeap<Reverse<(Duration, u32)>>,
    /// The clock's largest lead over the trace.
    ahead_max: Duration,
    spent: Spent,
    _directory: TempDir,
}

/// Versions of one user's sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Versions {
    strategy: u32,
    recommendations: u32,
}

/// The real time of the replay's parts.
#[derive(Debug, Default)]
struct Spent {
    reading: Duration,
    changing: Duration,
    prefetching: Duration,
}

/// More than a clock's rounding.
const MOMENT: Duration = Duration::from_millis(1);
/// The life of a document: longer than the trace. The database tells the age of a row, and its clock is not moved. So
/// nothing may expire here, or memory and table would disagree.
const LIFE: Duration = Duration::from_secs(400 * 24 * 3600);
/// No slow step of a replay may fail.
const PATIENCE: Duration = Duration::from_secs(60);
/// The connections that one load uses at once.
const CONNECTIONS: u32 = 6;

const USERS: &str = "
WITH RECURSIVE users(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM users WHERE id < $last)
INSERT INTO onboarding_sessions (id, user_id) SELECT id, id FROM users;
INSERT INTO research_preferences (session_id, research_depth, content_types)
    SELECT id, 'deep', '[]' FROM onboarding_sessions;
INSERT INTO enhanced_content_strategies (id, user_id, name, industry)
    SELECT id, id, '0', 'trade of ' || id FROM onboarding_sessions;
INSERT INTO content_recommendations (id, user_id, recommendation_type, title)
    SELECT id, id, 'topic', '0' FROM onboarding_sessions;";

fn config(prefetch: PrefetchSettings, ai: &FakeAi) -> Config {
    let mut config = Config { prefetch, ..Config::default() };
    config.database.ttl = LIFE;
    config.database.stale_if_error = LIFE;
    config.database.timeout = PATIENCE;
    config.invalidation_log.renew_timeout = PATIENCE;
    config.loads.budget = 2 * PATIENCE;
    config.sources.soft_timeout = PATIENCE;
    config.sources.hard_timeout = PATIENCE;
    config.ai.base_url = Some(ai.base_url());
    config.ai.model = "counted".to_owned();
    config.ai.soft_timeout = PATIENCE;
    // Its limit is not measured.
    config.ai.calls_per_minute = 100_000;
    config
}

impl Core {
    /// Starts with all users of the trace in the sources, and empty caches.
    pub(crate) async fn start(events: &[Event], prefetch: PrefetchSettings) -> Self {
        let directory = tempfile::Builder::new().prefix("userdata-replay-").tempdir().unwrap();
        let url = format!("sqlite://{}/replay.db?mode=rwc", directory.path().display());
        let users = events.iter().map(|event| event.user).max().unwrap_or_default();
        let db = pool(&url).await;
        up(&db, Tables::CacheAndSources).await.unwrap();
        db.execute_unprepared(&USERS.replace("$last", &users.to_string())).await.unwrap();
        changes::install(&db).await.unwrap();

        let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
        let quiet = prefetch.quiet;
        let config = config(prefetch, &ai);
        let (clock, stop) = (Clock::system(), CancellationToken::new());
        let (loads, tasks) = (TaskTracker::new(), TaskTracker::new());
        // The relay runs by hand, until the outbox is empty.
        loads.close();
        let (cache_pool, timeout) = (Pool::from(pool(&url).await), config.database.timeout);
        let rows = DatabaseTier::new(cache_pool.clone(), &config.database, clock.clone());
        let leases =
            Leases::new(cache_pool.clone(), &config.load_lease, timeout, clock.clone(), tasks.clone(), stop.clone());
        let leases = Arc::new(leases.heeding(rows.reach()));
        let guard = Guard::new("ai_analysis", &config.sources, clock.clone());
        let analysis = AiAnalysis::new(
            &config.ai,
            guard,
            ResponseCache::new(cache_pool),
            Arc::clone(&leases),
            clock.clone(),
            tasks.clone(),
        );
        let sources = SourceDatabase::new(pool(&url).await.into(), config.sources.column_bytes_max);
        let parts = CacheParts {
            invalidation_log: InvalidationLog::new(
                LogPools { reads: pool(&url).await.into(), commits: pool(&url).await.into() },
                config.invalidation_log.clone(),
                timeout,
                clock.clone(),
                &tasks,
            ),
            leases,
            redis: None,
            database: rows,
            user_keys: None,
            aggregator: Aggregator::new(sources, analysis.unwrap(), &config.sources, clock.clone()),
            outbox: Some(Outbox::new(pool(&url).await.into())),
            clock: clock.clone(),
            stop,
            meter: Meter::none(),
            config,
        };
        let cache = Arc::new(UserDataCache::new(parts, &loads));
        let jobs = Jobs::new(&cache);
        jobs.poll_invalidation_log().await;
        // From here on it receives notifications.
        jobs.prefetch();
        Self {
            cache,
            jobs,
            db,
            ai,
            began: clock.now(),
            clock,
            loads,
            versions: vec![Versions::default(); users as usize + 1],
            quiet,
            due: BinaryHeap::new(),
            ahead_max: Duration::ZERO,
            spent: Spent::default(),
            _directory: directory,
        }
    }

    /// Processes all events, in order and at their times.
    pub(crate) async fn replay(&mut self, events: &[Event]) -> Score {
        let mut score = Score::default();
        for (number, event) in events.iter().enumerate() {
            self.prefetch_until(event.at, &mut score).await;
            self.move_to(event.at);
            let calls = self.ai.calls();
            let began = Instant::now();
            match event.kind {
                Kind::Read => score.read(event.user, self.read(event.user).await),
                Kind::Strategy | Kind::Recommendations => self.change(event).await,
            }
            self.loads.wait().await;
            match event.kind {
                Kind::Read => self.spent.reading += began.elapsed(),
                _ => self.spent.changing += began.elapsed(),
            }
            score.ai_calls(event.user, u32::try_from(self.ai.calls() - calls).unwrap());
            if number % 20_000 == 0 {
                eprintln!("{number} of {} events", events.len());
            }
        }
        score
    }

    /// The score.
    pub(crate) async fn end(self) -> String {
        let stats = self.cache.stats(0).await.unwrap();
        format!(
            "{} answers unverified, {} AI calls, clock ahead of the trace by at most {:.0?}, {:.0?}, {:?}",
            stats.unverified_answers, stats.ai_calls_made, self.ahead_max, self.spent, stats.prefetch
        )
    }

    /// Does the service's periodic work, at the times when something may be due.
    async fn prefetch_until(&mut self, at: Duration, score: &mut Score) {
        while let Some(Reverse((due, user))) = self.due.peek().copied().filter(|Reverse((due, _))| *due <= at) {
            self.due.pop();
            self.move_to(due);
            let (began, calls) = (Instant::now(), self.ai.calls());
            self.jobs.poll_invalidation_log().await;
            self.jobs.prefetch();
            self.loads.wait().await;
            score.ai_calls(user, u32::try_from(self.ai.calls() - calls).unwrap());
            self.spent.prefetching += began.elapsed();
        }
    }

    fn move_to(&mut self, at: Duration) {
        let now = self.clock.now().since(self.began);
        self.clock.advance(at.saturating_sub(now));
        self.ahead_max = self.ahead_max.max(now.saturating_sub(at));
    }

    async fn read(&self, user: u32) -> Answer {
        let query = UserDataQuery::new(UserId::parse(&user.to_string()).unwrap(), None, Parameters::none());
        let served = self.cache.get(&query, &ReadOptions::default()).await.unwrap();
        match served.status {
            _ if versions_in(&served) != self.versions[user as usize] => Answer::Stale,
            CacheStatus::Hit(_) => Answer::Fresh,
            _ => Answer::Loaded,
        }
    }

    /// Changes a user's sources; the triggers record it, the relay appends an invalidation.
    async fn change(&mut self, Event { user, kind, .. }: &Event) {
        let versions = &mut self.versions[*user as usize];
        let sql = if *kind == Kind::Strategy {
            versions.strategy += 1;
            let version = versions.strategy;
            // The industry is part of the AI's input, and users with equal inputs share its cached response.
            format!(
                "UPDATE enhanced_content_strategies SET name = '{version}', industry = 'trade {version} of {user}' \
                 WHERE id = {user}"
            )
        } else {
            versions.recommendations += 1;
            format!("UPDATE content_recommendations SET title = '{}' WHERE id = {user}", versions.recommendations)
        };
        self.db.execute_unprepared(&sql).await.unwrap();
        self.jobs.relay_now().await;
        self.jobs.prefetch();
        let now = self.clock.now().since(self.began);
        self.due.push(Reverse((now + self.quiet + MOMENT, *user)));
    }
}

/// The versions that a document was made from. It must have every section, or the replay is worthless.
fn versions_in(served: &Served) -> Versions {
    assert!(served.snapshot.complete(), "a source failed");
    let document = ComprehensiveUserData::decode(served.snapshot.payload.clone()).unwrap();
    Versions {
        strategy: document.strategy_data.unwrap().strategy_name.parse().unwrap(),
        recommendations: document.recommendations_data[0].title.parse().unwrap(),
    }
}

async fn pool(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Off)
                .busy_timeout(PATIENCE)
                .foreign_keys(false)
        });
    Database::connect(options).await.unwrap()
}
