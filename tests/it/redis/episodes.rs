//! A Redis that forgets, comes back with old data, or takes no more, under constant load.

use super::*;
use testkit::redis::{Redis, redis};

/// Answers and invalidations after which an episode has been seen from all sides: every user once.
const ANSWERS: usize = 50;
const INVALIDATIONS: usize = USERS as usize;

/// What Redis lacks while it evicts: most of what all users' records take.
const MISSING_BYTES: u64 = 16 * 1024;

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
    for _ in 1..=2 {
        assert_eq!(redis.command("FLUSHALL").await, "+OK");
        oracle.more(ANSWERS, INVALIDATIONS).await;
        oracle.more_from(CacheStatus::HitRedis, 20).await;
        oracle.assert_right("after FLUSHALL");
    }
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
    // Records go, and the indexes by which a user's records are dropped; then there is room again.
    for _ in 1..=2 {
        let evicted = evicted(&redis).await;
        let used: u64 = redis.info("used_memory").await.parse().unwrap();
        assert_eq!(redis.command(&format!("CONFIG SET maxmemory {}", used - MISSING_BYTES)).await, "+OK");
        wait_for("evictions", async || (self::evicted(&redis).await > evicted).then_some(())).await;
        oracle.more(ANSWERS, INVALIDATIONS).await;
        assert_eq!(redis.command("CONFIG SET maxmemory 0").await, "+OK");
        oracle.more_from(CacheStatus::HitRedis, 20).await;
        oracle.assert_right("while Redis evicts");
    }
    eprintln!("{} evicted: {}", evicted(&redis).await, oracle.seen());
}

async fn evicted(redis: &Redis) -> u64 {
    redis.info("evicted_keys").await.parse().unwrap()
}
