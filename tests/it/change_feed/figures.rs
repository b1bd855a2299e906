//! Figures, printed: `bash tests/run --test it change_feed::figures -- --ignored --nocapture --test-threads 1`.

use std::time::Duration;

use testkit::{
    ask::{get, of, stats},
    cluster::{Layout, cluster},
    server::{Client, serve},
    sources::count,
};
use tokio::time::Instant;

use super::{Fed, LEASE, fed, fed_with, is_verified, with_feed};

const INSTANCES: usize = 4;

/// How long after the commit the last of the other instances gave its first answer with the change.
async fn seen_after(clients: &[Client], expected: i64, committed: Instant) -> Duration {
    for client in clients {
        while get(client, of("1")).await.unwrap().count != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    committed.elapsed()
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    format!("p50 {:.0?}, p90 {:.0?}, p99 {:.0?}, max {:.0?} of {}", at(50), at(90), at(99), at(100), times.len())
}

/// What carries notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WithRedis {
    No,
    Well,
    Killed,
    Frozen,
}

#[tokio::test]
#[ignore = "figures"]
async fn how_soon_a_commit_is_seen() {
    for redis in [WithRedis::No, WithRedis::Well, WithRedis::Killed, WithRedis::Frozen] {
        let cluster = cluster(Layout::Postgres).await;
        let cluster = if redis == WithRedis::No { cluster } else { cluster.with_redis().await };
        // The default: it is what a Redis that hangs costs.
        let settings = with_feed(&cluster).with("redis.timeout", "50ms");
        let mut fed = fed_with(cluster, vec![settings; INSTANCES]).await;
        match redis {
            WithRedis::No | WithRedis::Well => {}
            WithRedis::Killed => fed.cluster.redis().kill().await,
            WithRedis::Frozen => fed.cluster.redis().freeze(),
        }
        let mut times = Vec::new();
        for expected in 1..=200 {
            tokio::time::sleep(Duration::from_millis(rand::random_range(20..120))).await;
            fed.cluster.sources.write(11, expected).await;
            times.push(seen_after(&fed.clients, expected, Instant::now()).await);
        }
        eprintln!("commit to all of {INSTANCES} instances, Redis {redis:?}: {}", quantiles(times));
        if redis == WithRedis::Frozen {
            fed.cluster.redis().thaw();
        }
    }
}

#[tokio::test]
#[ignore = "figures"]
async fn how_soon_a_bulk_change_is_seen() {
    const USERS: usize = 10_000;
    let cluster = cluster(Layout::Postgres).await;
    let place = &cluster.sources.database;
    place
        .execute(&format!(
            "INSERT INTO onboarding_sessions (user_id) SELECT 'u' || n FROM generate_series(1, {USERS}) n; \
             INSERT INTO enhanced_content_strategies (id, user_id, name, industry) \
             SELECT 1000 + n, 'u' || n, '0', 'technology' FROM generate_series(1, {USERS}) n"
        ))
        .await;
    let fed = fed(cluster, INSTANCES).await;
    let users: Vec<String> = (0..20).map(|n| format!("u{}", 1 + n * 499)).collect();
    let mut times = Vec::new();
    for expected in 1..=5 {
        for client in &fed.clients {
            for user in &users {
                get(client, of(user)).await.unwrap();
            }
        }
        let update = format!("UPDATE enhanced_content_strategies SET name = '{expected}' WHERE id > 1000");
        fed.cluster.sources.database.execute(&update).await;
        let committed = Instant::now();
        for client in &fed.clients {
            for user in &users {
                // Loads are no part of it: 80 of them take longer than the feed.
                let mut asked = committed.elapsed();
                while get(client, of(user)).await.unwrap().count != expected {
                    asked = committed.elapsed();
                }
                times.push(asked);
            }
        }
    }
    eprintln!("{USERS} users in one UPDATE, from the commit to asking for an answer that has it: {}", quantiles(times));
}

#[tokio::test]
#[ignore = "figures"]
async fn how_often_a_killed_reader_makes_answers_unverified() {
    const KILLS: usize = 100;
    let mut fed = fed(cluster(Layout::Postgres).await, INSTANCES).await;
    let (mut with_unverified, mut answers) = (0, 0);
    for _ in 0..KILLS {
        let holder = fed.holder().await;
        fed.servers[holder].kill().await;
        let killed = Instant::now();
        let mut unverified = 0;
        while killed.elapsed() < LEASE + Duration::from_secs(1) {
            for (_, client) in fed.clients.iter().enumerate().filter(|(index, _)| *index != holder) {
                answers += 1;
                unverified += usize::from(!get(client, of("1")).await.unwrap().verified);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        with_unverified += usize::from(unverified > 0);
        fed.servers[holder].start().await;
        fed.clients[holder] = fed.servers[holder].client().await;
        is_verified(&fed.clients[holder], 0).await;
    }
    eprintln!("{with_unverified} of {KILLS} kills made an answer unverified ({answers} answers)");
}

/// Statements a second on the database, while nothing is asked.
async fn statements(fed: &Fed) -> i64 {
    const SECONDS: u64 = 10;
    let done = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let before = count(&fed.cluster.cache, done).await;
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    (count(&fed.cluster.cache, done).await - before) / i64::try_from(SECONDS).unwrap()
}

#[tokio::test]
#[ignore = "figures"]
async fn what_the_feed_costs() {
    for instances in [1, INSTANCES] {
        let with = fed(cluster(Layout::Postgres).await, instances).await;
        let feed = statements(&with).await;
        drop(with);
        let cluster = cluster(Layout::Postgres).await;
        let settings = with_feed(&cluster).with("sources.change_feed", false);
        let mut servers = Vec::new();
        for _ in 0..instances {
            servers.push(serve(settings.clone()).await);
        }
        let without = statements(&Fed { cluster, servers, clients: Vec::new() }).await;
        eprintln!("{instances} instances: {feed} transactions a second with the feed, {without} without");
    }
    let one = fed(cluster(Layout::Postgres).await, 1).await;
    eprintln!("statistics: {:?}", stats(&one.clients[0]).await.changes.unwrap());
}
