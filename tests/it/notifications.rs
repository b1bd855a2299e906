//! Notifications over Redis: the other instance knows an invalidation within milliseconds. A fault of Redis costs the
//! notification and nothing else.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use userdata::{
    clock::Clock,
    proto::v1::{GetCacheStatsRequest, GetCacheStatsResponse, GetComprehensiveUserDataRequest, InvalidateCacheRequest},
};
use userdata_migrations::{Tables, up};

use testkit::{
    database::{Kind, TestDatabase, database},
    redis::{Redis, redis},
    server::{Client, Server, Settings, serve},
    wait_for,
};

const USER: &str = "1";
const CHANNEL: &str = "comprehensive_user_data:notifications";

/// How the log is followed beside the notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Polls {
    /// As it comes: every 100 ms.
    Default,
    /// So rarely that an invalidation that is seen earlier came by notification.
    HardlyEver,
}

impl Polls {
    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Default => &[],
            Self::HardlyEver => {
                &[("USERDATA__INVALIDATION_LOG__POLL", "10s"), ("USERDATA__INVALIDATION_LOG__LEASE", "60s")]
            }
        }
    }

    /// The longest that a verified answer of another instance may be outdated: the lease.
    fn outdated_max(self) -> Duration {
        match self {
            Self::Default => Duration::from_millis(500),
            Self::HardlyEver => Duration::from_secs(60),
        }
    }
}

/// Two instances on one database and one Redis, both subscribed.
struct Pair {
    near: Client,
    far: Client,
    redis: Redis,
    db: DatabaseConnection,
    clock: Clock,
    polls: Polls,
    /// What the user's document says now, as a number.
    version: u32,
    servers: [Server; 2],
    _database: TestDatabase,
}

async fn pair(polls: Polls) -> Pair {
    let (database, redis) = (database(Kind::Postgres).await, redis().await);
    let db = database.connect().await;
    up(&db, Tables::CacheAndSources).await.unwrap();
    for sql in [
        format!("INSERT INTO onboarding_sessions (user_id) VALUES ('{USER}')"),
        format!("INSERT INTO enhanced_content_strategies (id, user_id, name) VALUES (1, '{USER}', '0')"),
        // The most that instances may ask for.
        "UPDATE invalidation_log_head SET lease_ms = 60000".to_owned(),
    ] {
        db.execute_unprepared(&sql).await.unwrap();
    }
    let (database_url, redis_url) = (database.url.as_str(), redis.url());
    let urls = [("USERDATA__DATABASE__URL", database_url), ("USERDATA__REDIS__URL", redis_url.as_str())];
    // The default, as an acknowledgement waits for it.
    let redis_timeout = [("USERDATA__REDIS__TIMEOUT", "50ms")];
    let environment = urls.iter().chain(polls.environment()).chain(&redis_timeout);
    let environment = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let settings = Settings { uid: None, files: None, flags: vec![], environment };
    let servers = [serve(settings.clone()).await, serve(settings).await];
    let [near, far] = [servers[0].client().await, servers[1].client().await];
    let clock = Clock::system();
    let pair = Pair { near, far, redis, db, clock, polls, version: 0, servers, _database: database };
    pair.are_subscribed().await;
    pair
}

/// How long an invalidation took.
struct Took {
    /// Until its acknowledgement.
    acknowledged: Duration,
    /// From then until the other instance's answer was a new one.
    seen: Duration,
}

impl Pair {
    /// Waits until both listen, by publishing what is no notification and counting who gets it.
    async fn are_subscribed(&self) {
        let publish = format!("PUBLISH {CHANNEL} nonsense");
        wait_for("two subscriptions", async || (self.redis.command(&publish).await == ":2").then_some(())).await;
    }

    /// Changes the sources, invalidates near, and asks far until it knows. Far has the document in
    /// memory, and no verified answer of its is outdated for too long.
    async fn invalidate(&mut self) -> Took {
        let held = self.version.to_string();
        assert_eq!(name(&self.far).await.0, held);
        self.version += 1;
        let update = format!("UPDATE enhanced_content_strategies SET name = '{}'", self.version);
        self.db.execute_unprepared(&update).await.unwrap();
        let called = self.clock.now();
        let request = InvalidateCacheRequest { user_id: USER.to_owned(), ..Default::default() };
        self.near.invalidate_cache(request).await.unwrap();
        let acknowledged = self.clock.now();
        loop {
            let asked_after = self.clock.now().since(acknowledged);
            let (name, verified) = name(&self.far).await;
            if name == self.version.to_string() {
                let seen = self.clock.now().since(acknowledged);
                return Took { acknowledged: acknowledged.since(called), seen };
            }
            assert_eq!(name, held, "there is nothing else to be seen");
            assert!(
                !verified || asked_after <= self.polls.outdated_max(),
                "verified and outdated after {asked_after:?}"
            );
        }
    }

    /// Waits until an invalidation is known by notification.
    async fn hear_notifications_again(&mut self) {
        let before = stats(&self.far).await.invalidation_log.unwrap().notifications;
        for _ in 0..200 {
            self.invalidate().await;
            if stats(&self.far).await.invalidation_log.unwrap().notifications > before {
                return;
            }
        }
        panic!("no notification is heard");
    }
}

/// The strategy's name in the user's document, and whether the answer is verified.
async fn name(client: &Client) -> (String, bool) {
    let request = GetComprehensiveUserDataRequest { user_id: USER.to_owned(), ..Default::default() };
    let response = client.clone().get_comprehensive_user_data(request).await.unwrap().into_inner();
    let name = response.data.unwrap().strategy_data.unwrap().strategy_name;
    (name, response.cache_info.unwrap().verified)
}

async fn stats(client: &Client) -> GetCacheStatsResponse {
    client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner()
}

/// Prints p50, p99 and the longest; returns p50.
fn figures(what: &str, took: impl Iterator<Item = Duration>) -> Duration {
    let mut took: Vec<Duration> = took.collect();
    took.sort();
    let (p50, p99, max) = (took[took.len() / 2], took[(took.len() * 99).div_ceil(100) - 1], took[took.len() - 1]);
    eprintln!("{what}: p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?} of {}", took.len());
    p50
}

#[tokio::test]
async fn an_invalidation_is_known_elsewhere_in_milliseconds() {
    for polls in [Polls::HardlyEver, Polls::Default] {
        let mut pair = pair(polls).await;
        let mut took = Vec::new();
        for _ in 0..100 {
            took.push(pair.invalidate().await);
        }
        figures(&format!("polls {polls:?}, acknowledged"), took.iter().map(|took| took.acknowledged));
        let seen = figures(&format!("polls {polls:?}, seen elsewhere"), took.iter().map(|took| took.seen));
        // Without notifications it would be half the time between polls, which is seconds when they are rare.
        assert!(polls == Polls::Default || seen < Duration::from_millis(500), "{seen:?}");
        let [near, far] =
            [stats(&pair.near).await, stats(&pair.far).await].map(|stats| stats.invalidation_log.unwrap());
        assert_eq!(near.notifications, 0, "an instance's own notifications say nothing new");
        assert!(
            (10..=100).contains(&far.notifications),
            "{}: notifications that came before a poll",
            far.notifications
        );
    }
}

#[tokio::test]
async fn without_redis_the_others_still_know_within_a_lease_and_notifications_come_back_with_it() {
    let mut pair = pair(Polls::Default).await;
    for _ in 0..2 {
        pair.redis.kill().await;
        let mut took = Vec::new();
        for _ in 0..10 {
            took.push(pair.invalidate().await);
        }
        figures("Redis killed, acknowledged", took.iter().map(|took| took.acknowledged));
        figures("Redis killed, seen elsewhere", took.iter().map(|took| took.seen));
        pair.redis.start().await;
        pair.are_subscribed().await;
        pair.hear_notifications_again().await;
    }
}

#[tokio::test]
async fn a_frozen_redis_delays_an_acknowledgement_by_its_timeout_at_most() {
    let mut pair = pair(Polls::Default).await;
    pair.redis.freeze();
    let mut took = Vec::new();
    for _ in 0..10 {
        took.push(pair.invalidate().await);
    }
    figures("Redis frozen, acknowledged", took.iter().map(|took| took.acknowledged));
    figures("Redis frozen, seen elsewhere", took.iter().map(|took| took.seen));
    // Far beyond the timeout: a busy machine may be slow, and what waits for Redis waits for ever.
    for took in took {
        assert!(took.acknowledged < Duration::from_secs(10), "{:?}", took.acknowledged);
    }
    pair.redis.thaw();
    pair.hear_notifications_again().await;
    pair.redis.freeze();
    for server in &mut pair.servers {
        server.terminate().await;
        assert!(!server.log().contains("did not end in time"), "{}", server.log());
    }
}

#[tokio::test]
async fn a_cut_subscription_is_made_again() {
    for polls in [Polls::HardlyEver, Polls::Default] {
        let mut pair = pair(polls).await;
        let mut took = Vec::new();
        for _ in 0..3 {
            assert_eq!(pair.redis.command("CLIENT KILL TYPE pubsub").await, ":2");
            // Its notification may be lost: then it is known because of the new connection, or by a poll.
            took.push(pair.invalidate().await.seen);
            pair.are_subscribed().await;
            pair.hear_notifications_again().await;
        }
        figures(&format!("polls {polls:?}, cut, seen elsewhere"), took.into_iter());
    }
}

#[tokio::test]
async fn a_flood_of_forged_notifications_changes_nothing() {
    let mut pair = pair(Polls::HardlyEver).await;
    let token = "'00000000-0000-0000-0000-000000000000:9'";
    let flood = format!("EVAL \"for i=1,20000 do redis.call('PUBLISH','{CHANNEL}',{token}) end\" 0");
    let mut took = Vec::new();
    for _ in 0..3 {
        assert_eq!(pair.redis.command(&flood).await, "$-1");
        took.push(pair.invalidate().await.seen);
    }
    figures("flooded, seen elsewhere", took.into_iter());
    for client in [&pair.near, &pair.far] {
        let log = stats(client).await.invalidation_log.unwrap();
        assert_eq!((log.applied, log.gaps), (3, 0));
    }
}
