//! Redis as a cluster: a user's keys are in one slot, users are spread, and a dead node costs no answer.

use std::{collections::BTreeSet, time::Duration};

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use userdata::proto::v1::InvalidateCacheRequest;

use super::*;
use testkit::{
    ask::{of_strategy, reason},
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
    // More than once, as what an earlier answer has found may still be on its way to Redis.
    wait_for("copies that are dropped before OK", async || {
        for user in &two.users {
            get(&two.near, of(&user.name)).await.unwrap();
        }
        wait_for("records", async || shards.keys().await.iter().all(|keys| *keys > 0).then_some(())).await;
        for user in &two.users {
            invalidate(&two.near, everything_of(&user.name)).await.unwrap();
        }
        (shards.keys().await == [0, 0, 0]).then_some(())
    })
    .await;
}

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

/// The users whose records are on this node, and the others.
async fn users_by_node(shards: &Shards, node: usize, users: &[Arc<User>]) -> (Vec<String>, Vec<String>) {
    let keys = shards.masters[node].reply("KEYS *").await.unwrap();
    let names = users.iter().map(|user| user.name.clone());
    names.partition(|name| keys.contains(&hex::encode(&Sha256::digest(name)[..16])))
}

/// What the answers come from, so long apart that memory does not have them any more.
async fn origins(client: &Client, users: &[String]) -> BTreeSet<CacheStatus> {
    let mut origins = BTreeSet::new();
    for _ in 0..5 {
        for user in users {
            origins.insert(get(client, of(user)).await.unwrap().status);
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    origins
}

/// Waits until all that these users' answers come from is Redis.
async fn are_from_redis(client: &Client, users: &[String]) {
    wait_for("answers from Redis", async || {
        let origins = origins(client, users).await;
        origins.iter().all(|origin| matches!(origin, CacheStatus::HitRedis | CacheStatus::HitMemory)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_shard_that_is_dead_or_frozen_costs_its_share_of_redis_and_not_the_tier() {
    let mut shards = shards().await;
    let two = two(&shards.url()).await;
    two.share_redis().await;
    for user in &two.users {
        get(&two.near, of(&user.name)).await.unwrap();
    }
    wait_for("all records", async || (shards.keys().await.iter().sum::<u64>() >= 16).then_some(())).await;
    for (node, is_frozen) in [(1, false), (2, true)] {
        let (lost, kept) = users_by_node(&shards, node, &two.users).await;
        assert!(!lost.is_empty() && !kept.is_empty(), "{lost:?} {kept:?}");
        match is_frozen {
            true => shards.masters[node].freeze(),
            false => shards.masters[node].kill().await,
        }
        are_from_redis(&two.near, &kept).await;
        let others = origins(&two.near, &lost).await;
        assert!(!others.contains(&CacheStatus::HitRedis) && !others.contains(&CacheStatus::Assembled), "{others:?}");

        // What is stored now is shared, also with an instance that begins now.
        for user in &kept {
            invalidate(&two.near, everything_of(user)).await.unwrap();
            get(&two.near, of(user)).await.unwrap();
        }
        are_from_redis(&two.far, &kept).await;
        let settings = two.cluster.settings().with("redis.url", shards.url()).with("memory.ttl", "20ms");
        let later = serve(settings).await;
        are_from_redis(&later.client().await, &kept).await;
        assert_eq!(stats(&two.near).await.tiers[1].breaker_state, "closed");
        let purge = InvalidateCacheRequest { purge: true, ..everything_of(&kept[0]) };
        assert_eq!(reason(&invalidate(&two.near, purge).await.unwrap_err()), "PURGE_INCOMPLETE");

        match is_frozen {
            true => shards.masters[node].thaw(),
            false => shards.masters[node].start().await,
        }
        let all: Vec<String> = lost.into_iter().chain(kept).collect();
        are_from_redis(&two.near, &all).await;
        two.share_redis().await;
    }
}

/// As an operator moves them.
#[tokio::test]
async fn slots_that_move_are_followed() {
    let shards = shards().await;
    let two = two(&shards.url()).await;
    two.share_redis().await;
    let all: Vec<String> = two.users.iter().map(|user| user.name.clone()).collect();
    are_from_redis(&two.near, &all).await;
    shards.move_slots(0, 1).await;
    are_from_redis(&two.near, &all).await;
    are_from_redis(&two.far, &all).await;
    two.share_redis().await;
}
