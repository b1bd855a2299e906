//! Redis as a cluster: a user's keys are in one slot, users are spread, and a dead node costs no answer.

use tokio::time::Instant;

use super::*;
use testkit::{
    ask::of_strategy,
    redis::shards::{Shards, shards},
};

/// The slots of all keys of a node.
async fn slots(shards: &Shards, node: usize) -> Vec<String> {
    let node = &shards.masters[node];
    let keys = node.reply("KEYS *").await.unwrap();
    let mut slots = Vec::new();
    for key in keys.lines().filter(|line| line.starts_with("comprehensive_user_data:{")) {
        slots.push(node.command(&format!("CLUSTER KEYSLOT {key}")).await);
    }
    slots
}

#[tokio::test]
async fn a_redis_cluster_is_shared_and_a_user_has_one_slot() {
    let shards = shards().await;
    let two = two(&shards.url()).await;
    two.share_redis().await;
    for user in &two.users {
        get(&two.near, of(&user.name)).await.unwrap();
        get(&two.near, of_strategy(&user.name, user.strategy)).await.unwrap();
    }
    // Two records and an index.
    let all = 3 * two.users.len();
    wait_for("all records", async || (shards.keys().await.iter().sum::<u64>() == all as u64).then_some(())).await;
    let spread = shards.keys().await;
    assert!(spread.iter().all(|keys| *keys > 0), "users are on all nodes: {spread:?}");
    for node in 0..shards.masters.len() {
        let mut slots = slots(&shards, node).await;
        slots.sort();
        assert!(slots.chunks(3).all(|user| user.len() == 3 && user[0] == user[2]), "{slots:?}");
    }
    for user in &two.users {
        invalidate(&two.near, everything_of(&user.name)).await.unwrap();
    }
    assert_eq!(shards.keys().await, [0, 0, 0], "copies are dropped before OK");
}

/// A dead master without a replica takes the whole cluster with it, until it is back; one that has a replica does not.
#[tokio::test]
async fn a_dead_node_of_a_cluster_costs_no_answer() {
    let mut shards = shards().await;
    let two = two(&shards.url()).await;
    let oracle = two.under_load().await;
    for (master, has_replica) in [(0, true), (1, false)] {
        let gone_at = Instant::now();
        shards.masters[master].kill().await;
        oracle.more(50, two.users.len()).await;
        oracle.assert_right("without one node");
        if !has_replica {
            shards.masters[master].start().await;
        }
        oracle.everybody_from(CacheStatus::HitRedis).await;
        eprintln!("node killed, with replica: {has_replica}; all in use after {:.1?}", gone_at.elapsed());
        oracle.assert_right("with all slots again");
    }
    two.share_redis().await;
    eprintln!("nodes killed: {}", oracle.seen());
}
