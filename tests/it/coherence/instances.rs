//! Two instances on one database: what an invalidation at one means for answers of the other.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use userdata::proto::v1::{CacheStatus, Freshness, GetComprehensiveUserDataRequest, InvalidateCacheRequest, Wait};

use testkit::{
    ask::{everything_of, get, invalidate, of, reason},
    cluster::{Cluster, Layout, cluster},
    server::{Client, Server},
};

/// L: an instance trusts its copy of the log for so long.
const LEASE: Duration = Duration::from_millis(500);

/// Two instances that both have user 1 in memory, with count 0; the first one's client, the second one's.
struct Two {
    cluster: Cluster,
    servers: [Server; 2],
    here: Client,
    there: Client,
}

async fn two(cluster: Cluster) -> Two {
    cluster.sources.add_user("1", &[11]).await;
    let servers = [cluster.serve().await, cluster.serve().await];
    let (here, there) = (servers[0].client().await, servers[1].client().await);
    get(&here, of("1")).await.unwrap();
    cluster.has_stored(1).await;
    let found = get(&there, of("1")).await.unwrap().status;
    let expected = if cluster.redis.is_some() { CacheStatus::HitRedis } else { CacheStatus::HitDatabase };
    assert_eq!(found, expected);
    assert_eq!(get(&there, of("1")).await.unwrap().status, CacheStatus::HitMemory);
    Two { cluster, servers, here, there }
}

impl Two {
    /// Changes the sources and says so to the first instance; the token.
    async fn change(&self, count: i64, wait: Wait) -> String {
        self.cluster.sources.write(11, count).await;
        let request = InvalidateCacheRequest { wait: wait.into(), ..everything_of("1") };
        invalidate(&self.here, request).await.unwrap()
    }
}

async fn with_and_without_redis() -> [Two; 2] {
    [two(cluster(Layout::Postgres).await).await, two(cluster(Layout::Postgres).await.with_redis().await).await]
}

#[tokio::test]
async fn the_other_instance_serves_nothing_older_than_the_lease() {
    for two in with_and_without_redis().await {
        for count in 1..=5 {
            two.change(count, Wait::Local).await;
            let acknowledged = Instant::now();
            loop {
                let asked = Instant::now();
                let answer = get(&two.there, of("1")).await.unwrap();
                if asked - acknowledged >= LEASE {
                    assert_eq!(answer.count, count, "verified: {}", answer.verified);
                    break;
                }
                assert!(answer.count == count || answer.count == count - 1, "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_is_honoured_by_the_other_instance_at_once() {
    for two in with_and_without_redis().await {
        for count in 1..=20 {
            let min_token = two.change(count, Wait::Local).await;
            let request = GetComprehensiveUserDataRequest { min_token, ..of("1") };
            assert_eq!(get(&two.there, request).await.unwrap().count, count);
        }
    }
}

#[tokio::test]
async fn a_linearizable_answer_is_fresh_at_once() {
    for two in with_and_without_redis().await {
        for count in 1..=20 {
            two.change(count, Wait::Local).await;
            let request = GetComprehensiveUserDataRequest { freshness: Freshness::Linearizable.into(), ..of("1") };
            let answer = get(&two.there, request).await.unwrap();
            assert_eq!((answer.count, answer.verified), (count, true));
        }
    }
}

#[tokio::test]
async fn after_wait_all_every_instance_is_fresh() {
    for two in with_and_without_redis().await {
        for count in 1..=3 {
            let called = Instant::now();
            two.change(count, Wait::All).await;
            let waited = called.elapsed();
            assert!((LEASE..LEASE + Duration::from_secs(5)).contains(&waited), "{waited:?}");
            assert_eq!(get(&two.there, of("1")).await.unwrap().count, count);
        }
    }
}

#[tokio::test]
async fn an_instance_that_was_paused_checks_before_it_answers() {
    let two = two(cluster(Layout::Postgres).await).await;
    let paused = &two.servers[1];
    for count in 1..=3 {
        paused.signal("STOP");
        two.change(count, Wait::All).await;
        // Sent to a stopped process: the answer is made after it goes on, with a lease that has lapsed.
        let answer = get(&two.there, of("1"));
        let resume = async { paused.signal("CONT") };
        let (answer, ()) = tokio::join!(answer, resume);
        assert_eq!(answer.unwrap().count, count);
    }
}

#[tokio::test]
async fn a_token_of_another_log_is_answered_from_the_sources() {
    let two = two(cluster(Layout::Postgres).await.with_redis().await).await;
    let min_token = "00000000-0000-4000-8000-000000000000:7".to_owned();
    for count in 1..=2 {
        two.cluster.sources.write(11, count).await;
        let request = GetComprehensiveUserDataRequest { min_token: min_token.clone(), ..of("1") };
        assert_eq!(get(&two.there, request).await.unwrap().facts(), (CacheStatus::Assembled, count));
    }
    assert_eq!(get(&two.there, of("1")).await.unwrap().facts(), (CacheStatus::HitMemory, 2), "it is stored as usual");
}

#[tokio::test]
async fn a_token_ahead_of_the_log_is_refused() {
    let two = two(cluster(Layout::Postgres).await).await;
    let token = two.change(1, Wait::Local).await;
    let (log, position) = token.rsplit_once(':').unwrap();
    let ahead = format!("{log}:{}", position.parse::<i64>().unwrap() + 1);
    let request = GetComprehensiveUserDataRequest { min_token: ahead, ..of("1") };
    let refused = get(&two.there, request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "TOKEN_AHEAD"));
}
