//! Sources that are read on a replica, which lags behind: what it has not replayed yet is not served as the state of things.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use userdata::{changes, proto::v1::InvalidateCacheRequest};

use testkit::{
    ask::{get, is_verified, of, reason},
    database::{Kind, TestDatabase, database, migrate_cache},
    get::{complete, refresh},
    postgres::{Postgres, own_postgres},
    server::{Settings, serve},
    sources::{Sources, sources_in},
    wait_for,
};

/// Longer than anything here takes if it waits for nothing.
const WAIT: Duration = Duration::from_millis(1500);

struct Replicated {
    primary: Postgres,
    replica: Postgres,
    sources: Sources,
    cache: TestDatabase,
}

async fn replicated() -> Replicated {
    let primary = own_postgres().await;
    let sources = sources_in(TestDatabase::on(&primary, "postgres")).await;
    sources.add_user("1", &[11]).await;
    changes::install(&sources.db).await.unwrap();
    let (replica, cache) = (primary.replica().await, database(Kind::Postgres).await);
    migrate_cache(&cache.url).await;
    Replicated { primary, replica, sources, cache }
}

impl Replicated {
    /// Reads the replica.
    fn settings(&self) -> Settings {
        let settings = Settings::on(&self.cache.url).with("sources.database_url", self.replica.url("postgres"));
        settings.with("sources.change_feed", true)
    }

    fn with_primary(&self, wait: Duration) -> Settings {
        let wait = format!("{}ms", wait.as_millis());
        let settings = self.settings().with("sources.relay_database_url", self.primary.url("postgres"));
        settings.with("sources.replica_wait", wait)
    }

    /// From now on the replica replays nothing.
    async fn pause(&self) {
        self.on_replica("SELECT pg_wal_replay_pause()").await;
        let paused = "SELECT 1 AS one WHERE pg_get_wal_replay_pause_state() = 'paused'";
        let replica = TestDatabase::on(&self.replica, "postgres");
        wait_for("the replay to pause", async || (!replica.rows(paused).await.is_empty()).then_some(())).await;
    }

    async fn on_replica(&self, sql: &str) {
        TestDatabase::on(&self.replica, "postgres").rows(sql).await;
    }
}

#[tokio::test]
async fn what_a_replica_has_not_replayed_is_never_served_as_verified() {
    let replicated = replicated().await;
    let server = serve(replicated.with_primary(Duration::from_millis(100))).await;
    let client = server.client().await;
    is_verified(&client, 0).await;
    replicated.pause().await;
    for count in 1..=5 {
        replicated.sources.write(11, count).await;
        let told = count % 2 == 0;
        if told {
            let request = InvalidateCacheRequest { user_id: "1".to_owned(), ..Default::default() };
            client.clone().invalidate_cache(request).await.unwrap();
        }
        let committed = Instant::now();
        while committed.elapsed() < WAIT {
            let asked = committed.elapsed();
            let answer = get(&client, of("1")).await.unwrap();
            let may_be_older = !answer.verified || (!told && asked < Duration::from_secs(1));
            assert!(answer.count == count || may_be_older, "{asked:?} after the commit: {answer:?}");
            sleep(Duration::from_millis(5)).await;
        }
        is_verified(&client, count).await;
    }
    assert!(server.log().contains("the primary is read"), "{}", server.log());
}

#[tokio::test]
async fn a_replica_is_waited_for_and_then_read() {
    let replicated = replicated().await;
    let server = serve(replicated.with_primary(Duration::from_secs(8))).await;
    let mut client = server.client().await;
    is_verified(&client, 0).await;
    // Nothing is written: what follows is about positions that are equal.
    for _ in 0..3 {
        let began = Instant::now();
        refresh(&mut client, "1").await;
        // Half of what is waited for a replica.
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    replicated.pause().await;
    replicated.sources.write(11, 1).await;
    let mut refreshed = pin!(async { refresh(&mut client.clone(), "1").await });
    timeout(WAIT, &mut refreshed).await.unwrap_err();
    replicated.on_replica("SELECT pg_wal_replay_resume()").await;
    let refreshed = refreshed.await;
    assert!(complete(&refreshed), "{refreshed:?}");
    is_verified(&client, 1).await;
    assert!(!server.log().contains("the primary is read"), "{}", server.log());
}

#[tokio::test]
async fn a_replica_whose_primary_is_not_known_is_not_read() {
    let replicated = replicated().await;
    let server = serve(replicated.settings()).await;
    let client = server.client().await;
    let refused = client.clone().get_comprehensive_user_data(of("1")).await.unwrap_err();
    assert_eq!(reason(&refused), "SOURCE_FAILED");
    assert!(server.log().contains("sources.relay_database_url has to name the primary"), "{}", server.log());
}

#[tokio::test]
async fn a_replica_that_is_promoted_after_its_primarys_death_is_read_like_any_primary() {
    let mut replicated = replicated().await;
    let server = serve(replicated.with_primary(Duration::from_millis(100))).await;
    let mut client = server.client().await;
    is_verified(&client, 0).await;
    replicated.primary.kill().await;
    replicated.on_replica("SELECT pg_promote()").await;
    wait_for("all to be read", async || complete(&refresh(&mut client, "1").await).then_some(())).await;
}

#[tokio::test]
async fn a_replica_that_is_promoted_beside_its_primary_is_not_read() {
    let replicated = replicated().await;
    let server = serve(replicated.with_primary(Duration::from_millis(100))).await;
    let client = server.client().await;
    is_verified(&client, 0).await;
    replicated.on_replica("SELECT pg_promote()").await;
    for count in 1..=3 {
        replicated.sources.write(11, count).await;
        is_verified(&client, count).await;
    }
    assert!(server.log().contains("leads to another primary"), "{}", server.log());
}
