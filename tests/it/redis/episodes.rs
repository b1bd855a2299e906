//! A Redis that forgets, comes back with old data, or takes no more, under constant load.

use super::*;
use crate::support::redis::{Redis, redis};

/// Answers and invalidations after which an episode has been seen from all sides: every user twice.
const ANSWERS: usize = 100;
const INVALIDATIONS: usize = 2 * USERS as usize;

async fn with_redis() -> (Redis, Two) {
    let redis = redis().await;
    let two = two(&redis.url()).await;
    (redis, two)
}

#[tokio::test]
async fn an_older_dump_makes_no_answer_wrong() {
    let (mut redis, two) = with_redis().await;
    let oracle = two.under_load().await;
    for episode in 1..=2 {
        let superseded = two.superseded().await;
        assert_eq!(redis.command("SAVE").await, "+OK");
        oracle.more(ANSWERS, INVALIDATIONS).await;
        redis.kill().await;
        oracle.more(ANSWERS, INVALIDATIONS).await;
        redis.start().await;
        oracle.more_from(CacheStatus::HitRedis, 20).await;
        assert!(two.superseded().await > superseded, "{episode}: nothing old was found");
        oracle.assert_right("after a restart from an older dump");
    }
    eprintln!("older dumps: {}", oracle.seen());
}

#[tokio::test]
async fn a_flushed_redis_is_filled_again() {
    let (redis, two) = with_redis().await;
    let oracle = two.under_load().await;
    for _ in 1..=3 {
        assert_eq!(redis.command("FLUSHALL").await, "+OK");
        oracle.more(ANSWERS, INVALIDATIONS).await;
        oracle.more_from(CacheStatus::HitRedis, 20).await;
        oracle.assert_right("after FLUSHALL");
    }
    assert_eq!(two.errors_of_redis().await, 0, "to have nothing is no error");
    eprintln!("FLUSHALL: {}", oracle.seen());
}

#[tokio::test]
async fn a_redis_without_memory_costs_no_answer() {
    let (redis, two) = with_redis().await;
    let oracle = two.under_load().await;
    assert_eq!(redis.command("CONFIG SET maxmemory-policy noeviction").await, "+OK");
    assert_eq!(redis.command("CONFIG SET maxmemory 1").await, "+OK");
    let before = two.errors_of_redis().await;
    oracle.more(ANSWERS, INVALIDATIONS).await;
    assert!(two.errors_of_redis().await > before, "it refused nothing");
    assert_eq!(redis.command("CONFIG SET maxmemory 0").await, "+OK");
    oracle.more_from(CacheStatus::HitRedis, 20).await;
    oracle.assert_right("without memory");
    eprintln!("no memory left: {}", oracle.seen());
}

#[tokio::test]
async fn a_redis_that_evicts_costs_no_answer() {
    let (redis, two) = with_redis().await;
    let oracle = two.under_load().await;
    assert_eq!(redis.command("CONFIG SET maxmemory-policy allkeys-lru").await, "+OK");
    let used = redis.info("used_memory").await;
    assert_eq!(redis.command(&format!("CONFIG SET maxmemory {used}")).await, "+OK");
    let evicted = async || redis.info("evicted_keys").await.parse::<u64>().unwrap();
    // Records, and the indexes by which a user's records are dropped.
    wait_for("evictions", async || (evicted().await >= 50).then_some(())).await;
    oracle.more(ANSWERS, INVALIDATIONS).await;
    assert_eq!(redis.command("CONFIG SET maxmemory 0").await, "+OK");
    oracle.more_from(CacheStatus::HitRedis, 20).await;
    oracle.assert_right("while Redis evicts");
    eprintln!("{} evicted: {}", evicted().await, oracle.seen());
}
