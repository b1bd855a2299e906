//! The instance that reads the outbox for the cluster dies, hangs or stops.

use std::time::Duration;

use super::{Fed, Observed, fed, fed_with, is_verified, observe, with_feed};
use testkit::{
    ask::stats,
    cluster::{Layout, cluster},
    lines::by_lines,
    proxy::Network,
    wait_for,
};
use tokio::time::Instant;

impl Fed {
    /// The instance that completes the rounds.
    pub(super) async fn holder(&self) -> usize {
        wait_for("rounds", async || {
            let mut before = Vec::new();
            for client in &self.clients {
                before.push(stats(client).await.changes.unwrap().rounds);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            for (index, client) in self.clients.iter().enumerate() {
                if stats(client).await.changes.unwrap().rounds > before[index] {
                    return Some(index);
                }
            }
            None
        })
        .await
    }
}

#[tokio::test]
async fn the_others_go_on_when_the_reading_instance_is_killed() {
    let mut fed = fed(cluster(Layout::Postgres).await, 3).await;
    for count in 1..=2 {
        let holder = fed.holder().await;
        fed.servers[holder].kill().await;
        fed.cluster.sources.write(11, count).await;
        let committed = Instant::now();
        fed.clients.remove(holder);
        fed.servers.remove(holder);
        for client in &fed.clients {
            let observed = observe(client, count, committed, Duration::from_secs(2)).await;
            eprintln!("killed: {observed:?}");
        }
        for client in &fed.clients {
            is_verified(client, count).await;
        }
    }
}

#[tokio::test]
async fn an_instance_that_wakes_up_after_a_takeover_serves_nothing_outdated() {
    let fed = fed(cluster(Layout::Postgres).await, 2).await;
    let holder = fed.holder().await;
    let other = 1 - holder;
    fed.servers[holder].signal("STOP");
    fed.cluster.sources.write(11, 1).await;
    let committed = Instant::now();
    observe(&fed.clients[other], 1, committed, Duration::from_secs(2)).await;
    is_verified(&fed.clients[other], 1).await;
    fed.cluster.sources.write(11, 2).await;
    let committed = Instant::now();
    is_verified(&fed.clients[other], 2).await;
    tokio::time::sleep(super::LEASE.saturating_sub(committed.elapsed())).await;
    fed.servers[holder].signal("CONT");
    observe(&fed.clients[holder], 2, committed, Duration::from_secs(3)).await;
    is_verified(&fed.clients[holder], 2).await;
}

#[tokio::test]
async fn a_stop_leaves_the_rounds_to_another_instance_without_an_unverified_answer() {
    // A busy machine may let the feed lapse by itself, some times.
    let mut all = Vec::new();
    while all.iter().all(|observed: &Observed| observed.unverified > 0) {
        assert!(all.len() < 5, "each stop has made answers unverified: {all:?}");
        let mut fed = fed(cluster(Layout::Postgres).await, 2).await;
        let holder = fed.holder().await;
        let other = fed.clients[1 - holder].clone();
        fed.servers[holder].terminate().await;
        all.push(observe(&other, 0, Instant::now(), Duration::from_secs(2)).await);
    }
}

/// Notes keep the reading instance busy; meanwhile it shows the others that it is at it, in the database of the log.
#[tokio::test]
async fn an_instance_goes_on_after_the_answers_of_the_logs_database_were_lost() {
    let cluster = cluster(Layout::PostgresBesidePostgres).await;
    let (settings, lines) = by_lines(with_feed(&cluster).with("database.timeout", "500ms")).await;
    let fed = fed_with(cluster, vec![settings]).await;
    let database = lines.database.as_ref().unwrap();
    for round in 0..8 {
        database.set(Network::SwallowReplies);
        for write in 1..=50 {
            fed.cluster.sources.write(11, round * 50 + write).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        database.restore();
        is_verified(&fed.clients[0], round * 50 + 50).await;
    }
}
