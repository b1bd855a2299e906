//! Everything that an instance depends on, each behind a network that can be broken, and two
//! instances: one that remembers in memory, and one that looks below at every call.
//!
//! Timeouts are those of production only where they are what is measured.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tonic::Status;
use userdata::proto::v1::{CacheStatus, GetCacheStatsRequest};
use userdata_migrations::{Tables, up};

use super::{COLD_CALLS, fault::Part};
use testkit::{
    ai::{FakeAi, Say, valid_answer},
    call::{Answer, Caller, about},
    database::migrate_cache,
    postgres::{Postgres, own_postgres},
    proxy::Proxy,
    redis::{Redis, redis},
    server::{Client, Server, Settings, serve},
    sources::count,
    wait_for,
};

/// Users in the sources: more than the whole matrix asks for.
const USERS: u32 = 5000;
/// The user whose document is in every tier.
pub(crate) const WARM: &str = "1";

/// What a source may take, as in production.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(8);
/// The same for one that hangs, and for an AI call: each wave waits for it. Long enough for ordinary
/// answers of a busy machine.
const HANGING_TIMEOUT: Duration = Duration::from_secs(3);
/// The tiers' own timeouts are those of production, but only for the tier that is to be broken: the other
/// a busy machine must not open its circuit.
const REDIS_TIMEOUT: Duration = Duration::from_millis(50);
const DATABASE_TIMEOUT: Duration = Duration::from_millis(200);
const RENEW_TIMEOUT: Duration = Duration::from_millis(50);
const PATIENT: Duration = Duration::from_secs(5);

pub(crate) struct Rig {
    cache: Postgres,
    sources: Postgres,
    redis: Redis,
    ai: FakeAi,
    to_cache: Proxy,
    to_sources: Proxy,
    to_redis: Proxy,
    to_ai: Proxy,
    cache_tables: DatabaseConnection,
    source_tables: DatabaseConnection,
    next_user: AtomicU32,
}

/// Two instances for what is broken in one part.
pub(crate) struct Instances {
    pub(crate) rig: Rig,
    pub(crate) part: Part,
    pub(crate) remembering: Caller,
    pub(crate) forgetful: Caller,
    client: Client,
    _servers: [Server; 2],
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let (cache, sources, redis) = (own_postgres().await, own_postgres().await, redis().await);
        let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
        migrate_cache(&cache.url("postgres")).await;
        let cache_tables = Database::connect(cache.url("postgres")).await.unwrap();
        let source_tables = Database::connect(sources.url("postgres")).await.unwrap();
        up(&source_tables, Tables::CacheAndSources).await.unwrap();
        source_tables.execute_unprepared(&user_rows()).await.unwrap();
        let ai_port = ai.base_url().split([':', '/']).find_map(|part| part.parse().ok()).expect("a port");
        Self {
            to_cache: Proxy::before(cache.port).await,
            to_sources: Proxy::before(sources.port).await,
            to_redis: Proxy::before(redis.port).await,
            to_ai: Proxy::before(ai_port).await,
            next_user: AtomicU32::new(2),
            cache,
            sources,
            redis,
            ai,
            cache_tables,
            source_tables,
        }
    }

    /// What belongs to the sources, reached directly.
    pub(crate) fn tables(&self) -> &DatabaseConnection {
        &self.source_tables
    }

    pub(crate) fn proxy(&self, part: Part) -> &Proxy {
        match part {
            Part::Redis => &self.to_redis,
            Part::Database => &self.to_cache,
            Part::Ai => &self.to_ai,
            _ => &self.to_sources,
        }
    }

    pub(crate) fn freeze(&self, part: Part) {
        match part {
            Part::Redis => self.redis.freeze(),
            Part::Database => self.cache.freeze(),
            Part::Ai => self.ai.hold(),
            _ => self.sources.freeze(),
        }
    }

    pub(crate) fn thaw(&self, part: Part) {
        match part {
            Part::Redis => self.redis.thaw(),
            Part::Database => self.cache.thaw(),
            Part::Ai => self.ai.release(),
            _ => self.sources.thaw(),
        }
    }

    /// A user without a cached document.
    fn new_user(&self) -> String {
        let user = self.next_user.fetch_add(1, Ordering::Relaxed);
        assert!(user <= USERS, "more users are needed");
        user.to_string()
    }

    fn settings(&self, part: Part) -> Settings {
        let of = |tier, timeout: Duration| if part == tier { timeout } else { PATIENT };
        let ms = |timeout: Duration| format!("{}ms", timeout.as_millis());
        let settings = Settings::on(&self.to_cache.url(&self.cache.url("postgres")))
            .with("sources.database_url", self.to_sources.url(&self.sources.url("postgres")))
            .with("redis.url", self.to_redis.url(&self.redis.url()))
            .with("redis.timeout", ms(of(Part::Redis, REDIS_TIMEOUT)))
            .with("database.timeout", ms(of(Part::Database, DATABASE_TIMEOUT)))
            .with("invalidation_log.renew_timeout", ms(of(Part::Database, RENEW_TIMEOUT)))
            .with("sources.soft_timeout", ms(source_timeout(part)))
            .with("sources.hard_timeout", ms(source_timeout(part)))
            // What one wave of cold calls comes to.
            .with("sources.breaker_failures", COLD_CALLS);
        if part != Part::Ai {
            // Else the AI response cache, which is in the cache's database, would be measured with the tier.
            return settings;
        }
        settings
            .with("ai.base_url", self.to_ai.url(&self.ai.base_url()))
            .with("ai.model", "fake-1")
            .with("ai.calls_per_minute", 100_000)
            .with("ai.soft_timeout", ms(HANGING_TIMEOUT))
            // So that its breaker learns of a hanging call while the test looks.
            .with("ai.hard_timeout", ms(HANGING_TIMEOUT))
    }

    /// Starts the instances.
    pub(crate) async fn serve(self, part: Part) -> Instances {
        let settings = self.settings(part);
        let remembers = serve(settings.clone()).await;
        let forgets = serve(settings.with("memory.ttl", "1ms")).await;
        let instances = Instances {
            rig: self,
            part,
            remembering: remembers.caller().await,
            forgetful: forgets.caller().await,
            client: forgets.client().await,
            _servers: [remembers, forgets],
        };
        instances.are_whole().await;
        instances
    }
}

impl Instances {
    /// What a call may lose to the part before its circuit opens.
    pub(crate) fn timeout(&self) -> Duration {
        match self.part {
            Part::Redis => REDIS_TIMEOUT,
            Part::Database => DATABASE_TIMEOUT,
            part => source_timeout(part),
        }
    }

    /// A document that no tier has.
    pub(crate) async fn cold(&self) -> Result<Answer, Status> {
        let user = self.rig.new_user();
        let answer = self.forgetful.ask(about(&user)).await?;
        assert_eq!(answer.document().user_id, user);
        Ok(answer)
    }

    /// A user whose only copy is a row that has expired.
    pub(crate) async fn expired_user(&self) -> String {
        let user = self.rig.new_user();
        self.forgetful.get(&user).await;
        self.has_stored(&user).await;
        self.forgetful.until(&user, CacheStatus::HitRedis).await;
        assert_eq!(self.rig.redis.command("FLUSHALL").await, "+OK");
        let row = format!("WHERE user_id = '{user}'");
        let expire = "UPDATE comprehensive_user_data_cache SET expires_at = '2020-01-01 00:00:00'";
        self.rig.cache_tables.execute_unprepared(&format!("{expire} {row}")).await.unwrap();
        self.forgetful.until(WARM, CacheStatus::HitRedis).await;
        user
    }

    /// The breakers that are not closed. None: there are no statistics without the cache's database.
    pub(crate) async fn left_alone(&self) -> Option<Vec<String>> {
        let stats = self.client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.ok()?.into_inner();
        let tiers = stats.tiers.into_iter().map(|tier| (tier.tier, tier.breaker_state));
        let sources = stats.sources.into_iter().map(|source| (source.source, source.breaker_state));
        let all = tiers.chain(sources).filter(|(_, state)| !state.is_empty() && state != "closed");
        Some(all.map(|(name, _)| name).collect())
    }

    /// Waits until the part is used again.
    pub(crate) async fn use_it_again(&self) {
        wait_for(&format!("{:?} to be used again", self.part), async || match self.part {
            Part::Redis => (self.forgetful.get(WARM).await.status() == CacheStatus::HitRedis).then_some(()),
            Part::Database => {
                let user = self.rig.new_user();
                let answer = self.forgetful.get(&user).await;
                // What is not stored by then was left out while the circuit was open.
                let stored = tokio::time::timeout(Duration::from_secs(1), self.has_stored(&user)).await;
                (answer.info.verified && stored.is_ok()).then_some(())
            }
            _ => self.cold().await.is_ok_and(|answer| answer.info.complete).then_some(()),
        })
        .await;
    }

    /// Waits until all circuits are closed, so that what comes next begins with everything whole.
    pub(crate) async fn are_whole(&self) {
        wait_for("everything to be whole", async || {
            let complete = self.cold().await.is_ok_and(|answer| answer.info.complete && answer.info.verified);
            (complete && self.left_alone().await.is_some_and(|names| names.is_empty())).then_some(())
        })
        .await;
        self.remembering.until(WARM, CacheStatus::HitMemory).await;
        self.forgetful.until(WARM, CacheStatus::HitRedis).await;
    }

    /// Waits for a user's row.
    async fn has_stored(&self, user: &str) {
        let row = format!("SELECT COUNT(*) FROM comprehensive_user_data_cache WHERE user_id = '{user}' AND format > 0");
        wait_for("a row", async || (count(&self.rig.cache_tables, &row).await == 1).then_some(())).await;
    }
}

fn source_timeout(part: Part) -> Duration {
    match part {
        // When their network hangs, no connection is opened, which takes less.
        Part::Redis | Part::Database | Part::Sources => SOURCE_TIMEOUT,
        _ => HANGING_TIMEOUT,
    }
}

/// A row for each user in each table that is broken, each AI input another one.
fn user_rows() -> String {
    let each = format!("FROM generate_series(1, {USERS}) n");
    [
        format!("INSERT INTO onboarding_sessions (id, user_id) SELECT n, n::text {each}"),
        format!(
            "INSERT INTO persona_data (session_id, core_persona, selected_platforms) \
             SELECT n, '{{\"core_persona\": {{\"name\": \"Ada\"}}}}', '[\"blog\"]' {each}"
        ),
        format!(
            "INSERT INTO enhanced_content_strategies (id, user_id, name, industry) \
             SELECT n, n::text, 'strategy ' || n, 'technology ' || n {each}"
        ),
        format!(
            "INSERT INTO strategy_activation_status (strategy_id, user_id, activation_date, status) \
             SELECT n, n, '2025-01-01', 'active' {each}"
        ),
        format!("INSERT INTO content_strategies (id, user_id, name) SELECT n, n, 'legacy' {each}"),
        format!(
            "INSERT INTO calendar_events (strategy_id, title, content_type, platform, scheduled_date) \
             SELECT n, 'event', 'post', 'blog', '2025-01-01' {each}"
        ),
        format!(
            "INSERT INTO content_analytics (strategy_id, platform, metrics, recorded_at) \
             SELECT n, 'blog', '{{\"views\": 5}}', now() {each}"
        ),
        format!(
            "INSERT INTO content_recommendations (user_id, recommendation_type, title, target_keywords) \
             SELECT n, 'post', 'write', '[\"a\"]' {each}"
        ),
        "ANALYZE".to_owned(),
    ]
    .join(";\n")
}
