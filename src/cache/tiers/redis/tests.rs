//! The tier against a real Redis: keys, replacement rules, and the cost of a broken one.

mod access;
mod shards;

use chrono::TimeDelta;
use servers::{
    proxy::Proxy,
    redis::{Redis, redis, redis_with},
};

use super::*;
use crate::{
    cache::{
        testing::{eventually, key, partial, parts, sealed, snapshot},
        tiers::guard::FAILURES_MAX,
    },
    config::Secret,
    model::{SectionSet, State, StrategyId},
    sync::Mutex,
};

async fn tier(server: &Redis) -> RedisTier {
    tier_at(server.url()).await
}

async fn tier_at(url: String) -> RedisTier {
    // Longer than the default: on a busy machine an answer takes its time.
    let timeout = Duration::from_millis(500);
    let config = config::RedisSettings { url: Some(Secret::new(url)), timeout, ..config::RedisSettings::default() };
    RedisTier::connect(&config, Clock::system()).await.unwrap()
}

/// A server and a tier that is connected to it.
async fn connected() -> (Redis, RedisTier) {
    let server = redis().await;
    let tier = tier(&server).await;
    assert!(tier.connected_within(Duration::from_secs(10)).await);
    (server, tier)
}

fn client(tier: &RedisTier) -> Client {
    tier.nodes.any().unwrap().client.clone()
}

async fn probed_until_closed(tier: &RedisTier) {
    eventually("the breaker closes", || async {
        tier.probe().await;
        tier.guard.breaker.is_closed()
    })
    .await;
}

fn scope(user: &str, strategy: Option<i64>) -> Scope {
    let user = UserId::parse(user).unwrap();
    Scope { user, strategy: strategy.and_then(StrategyId::new), sections: SectionSet::ALL }
}

#[tokio::test]
async fn what_was_put_is_found_under_the_designs_key_and_expires() {
    let (_server, tier) = connected().await;
    assert!(tier.get(&key("1", None)).await.unwrap().is_none());
    let hour = snapshot("1", None, 0);
    tier.put_by(None, &hour, 0).await.unwrap();
    assert_eq!(*tier.get(&hour.key).await.unwrap().unwrap(), *hour);

    let name = format!("comprehensive_user_data:{{6b86b273ff34fce19d6b804eff5a3f57}}:{}", hour.key.hash);
    let left: i64 = client(&tier).pttl(&name).await.unwrap();
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");

    let brief = sealed("1", Some(2), 0, TimeDelta::milliseconds(200), parts(5));
    tier.put_by(None, &brief, 0).await.unwrap();
    eventually("it expires", || async { tier.get(&brief.key).await.unwrap().is_none() }).await;
    let gone = sealed("1", Some(3), 0, TimeDelta::milliseconds(-1), parts(5));
    tier.put_by(None, &gone, 0).await.unwrap();
    assert!(tier.get(&gone.key).await.unwrap().is_none());

    let stats = tier.guard.stats();
    assert_eq!((stats.errors, stats.garbage, stats.breaker_state.as_str()), (0, 0, "closed"));
    assert!(stats.hits >= 1 && stats.misses >= 3);
}

#[tokio::test]
async fn a_ttl_is_the_shorter_of_the_tiers_and_the_snapshots() {
    let server = redis().await;
    let config = config::RedisSettings {
        url: Some(Secret::new(server.url())),
        ttl: Duration::from_secs(60),
        prefix: "other".to_owned(),
        ..config::RedisSettings::default()
    };
    let tier = RedisTier::connect(&config, Clock::system()).await.unwrap();
    assert!(tier.connected_within(Duration::from_secs(10)).await);
    let hour = snapshot("1", None, 0);
    tier.put_by(None, &hour, 0).await.unwrap();
    let left: i64 = client(&tier).pttl(tier.names(&hour.key.user).record(&hour.key)).await.unwrap();
    assert!((50_000..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn neither_older_nor_partial_replaces_newer_and_complete() {
    let stale_log = {
        let of = snapshot("1", None, 0);
        let parts = of.sections.iter().filter_map(|s| of.part(s.facts.section)).collect();
        Snapshot::seal(of.key.clone(), "another log".into(), of.as_of + TimeDelta::hours(1), of.expires_at, parts)
    };
    let read_at = |position, age_s| sealed("1", None, age_s, TimeDelta::hours(1), parts(position));
    // The others are read at position 5.
    for (there, late, last_invalidation, replaces) in [
        (snapshot("1", None, 10), snapshot("1", None, 5), 0, true),
        (snapshot("1", None, 5), snapshot("1", None, 10), 5, false),
        (snapshot("1", None, 5), snapshot("1", None, 10), 6, true),
        (snapshot("1", None, 10), partial("1", None, 5), 0, false),
        (snapshot("1", None, 10), partial("1", None, 5), 6, true),
        (partial("1", None, 10), partial("1", None, 5), 0, true),
        (partial("1", None, 10), snapshot("1", None, 5), 0, true),
        (partial("1", None, 5), snapshot("1", None, 10), 0, false),
        (stale_log, snapshot("1", None, 10), 0, true),
        // The wall clock has stepped back by 20 s and by a day.
        (snapshot("1", None, 0), read_at(6, 20), 0, true),
        (snapshot("1", None, 0), read_at(6, 86_400), 6, true),
        (read_at(6, 20), snapshot("1", None, 0), 0, false),
    ] {
        let (_server, tier) = connected().await;
        tier.put_by(None, &there, 0).await.unwrap();
        tier.put_by(None, &late, last_invalidation).await.unwrap();
        let kept = tier.get(&there.key).await.unwrap().unwrap();
        let expected = if replaces { &late } else { &there };
        assert_eq!(kept.as_of, expected.as_of);
        assert_eq!(kept.complete(), expected.complete());
    }
}

#[tokio::test]
async fn a_partial_snapshot_keeps_its_states() {
    let (_server, tier) = connected().await;
    let partial = partial("1", None, 0);
    tier.put_by(None, &partial, 0).await.unwrap();
    let found = tier.get(&partial.key).await.unwrap().unwrap();
    let failed = found.section(crate::model::Section::Performance).unwrap();
    assert_eq!((failed.facts.state, failed.facts.reason.as_str()), (State::Failed, "TIMEOUT"));
}

#[tokio::test]
async fn garbage_is_a_miss_that_heals() {
    let (_server, tier) = connected().await;
    let snapshot = snapshot("1", None, 0);
    let name = tier.names(&snapshot.key.user).record(&snapshot.key);
    let mut broken = record::encode(&snapshot, 0).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let other = record::encode(&crate::cache::testing::snapshot("2", None, 0), 0);
    for garbage in [Bytes::from_static(b"hello"), Bytes::new(), broken.into(), other] {
        let _: () = client(&tier).set(&name, garbage, None, None, false).await.unwrap();
        assert!(matches!(tier.get(&snapshot.key).await, Err(TierError::Garbage(_))));
        assert!(tier.get(&snapshot.key).await.unwrap().is_none(), "it is gone");
    }
    // Other types, under the record's name and under the index's.
    let index = tier.names(&snapshot.key.user).index();
    for _ in 0..FAILURES_MAX {
        let _: i64 = fred::interfaces::ListInterface::lpush(&client(&tier), &name, "x").await.unwrap();
        assert!(matches!(tier.get(&snapshot.key).await, Err(TierError::Garbage(_))));
    }
    let _: i64 = fred::interfaces::ListInterface::lpush(&client(&tier), &index, "x").await.unwrap();
    tier.put_by(None, &snapshot, 0).await.unwrap();
    assert!(tier.get(&snapshot.key).await.unwrap().is_some());
    assert_eq!(tier.remove(&scope("1", None)).await.unwrap(), 1);
    assert_eq!((tier.guard.stats().garbage, tier.guard.stats().errors), (4 + u64::from(FAILURES_MAX).cast_signed(), 0));
    assert_eq!(tier.guard.breaker.state(), "closed", "garbage is no reason to leave Redis alone");
}

#[tokio::test]
async fn removal_is_by_user_and_by_strategy() {
    let (_server, tier) = connected().await;
    check_removal(&tier).await;
}

/// In a cluster a script may only touch keys of one slot.
#[tokio::test]
async fn a_users_records_share_a_slot_of_a_cluster() {
    // The bus has a port of its own: ten thousand above the other one, there may be none.
    let options = "--cluster-enabled yes --cluster-announce-ip 127.0.0.1 --cluster-port BUS";
    let server = redis_with(options).await;
    server.until("cluster addslotsrange 0 16383", "OK").await;
    server.until("cluster info", "cluster_state:ok").await;
    let tier = tier_at(server.url().replace("redis://", "redis-cluster://")).await;
    assert!(tier.connected_within(Duration::from_secs(10)).await);
    check_removal(&tier).await;
    check_purge(&tier).await;
    assert_eq!(tier.guard.stats().errors, 0);
}

async fn check_removal(tier: &RedisTier) {
    let keys = [key("1", None), key("1", Some(1)), key("1", Some(2)), key("2", None)];
    for (scope, removed, left) in [
        (scope("1", None), 3, [false, false, false, true]),
        (scope("1", Some(1)), 2, [false, false, true, true]),
        (scope("1", Some(9)), 1, [false, true, true, true]),
        (scope("3", None), 0, [true, true, true, true]),
    ] {
        for (user, strategy) in [("1", None), ("1", Some(1)), ("1", Some(2)), ("2", None)] {
            tier.put_by(None, &snapshot(user, strategy, 0), 0).await.unwrap();
        }
        assert_eq!(tier.remove(&scope).await.unwrap(), removed, "{scope:?}");
        for (key, left) in keys.iter().zip(left) {
            assert_eq!(tier.get(key).await.unwrap().is_some(), left, "{scope:?} {key:?}");
        }
    }
}

#[tokio::test]
async fn a_purge_finds_what_the_index_has_lost() {
    let server = redis().await;
    // Taken for a pattern, it would match nothing of its own.
    let config = config::RedisSettings {
        url: Some(Secret::new(server.url())),
        prefix: r"a*[b]?\c".to_owned(),
        timeout: Duration::from_millis(500),
        ..config::RedisSettings::default()
    };
    let tier = RedisTier::connect(&config, Clock::system()).await.unwrap();
    assert!(tier.connected_within(Duration::from_secs(10)).await);
    // Several pages.
    let others = "for i = 1, 5000 do redis.call('SET', 'other:' .. i, '1') end";
    let _: Value = client(&tier).eval(others, Vec::<String>::new(), Vec::<String>::new()).await.unwrap();
    check_purge(&tier).await;
    server.until("dbsize", "5002").await;
}

/// Leaves a record and an index of user 6.
async fn check_purge(tier: &RedisTier) {
    for (user, strategy) in [("5", None), ("5", Some(1)), ("6", None)] {
        tier.put_by(None, &snapshot(user, strategy, 0), 0).await.unwrap();
    }
    let user = UserId::parse("5").unwrap();
    assert_eq!(client(tier).unlink::<u64, _>(tier.names(&user).index()).await.unwrap(), 1);
    assert_eq!(tier.remove(&scope("5", None)).await.unwrap(), 0, "it asks the index");
    assert_eq!(tier.purge(&user).await.unwrap(), 2);
    for (key, left) in [(key("5", None), false), (key("5", Some(1)), false), (key("6", None), true)] {
        assert_eq!(tier.get(&key).await.unwrap().is_some(), left, "{key:?}");
    }
    assert_eq!(tier.purge(&user).await.unwrap(), 0);
}

#[tokio::test]
async fn a_redis_without_memory_is_still_read() {
    let (server, tier) = connected().await;
    let snapshot = snapshot("1", None, 0);
    tier.put_by(None, &snapshot, 0).await.unwrap();
    server.until("config set maxmemory 1", "OK").await;
    for _ in 0..=FAILURES_MAX {
        assert!(matches!(tier.put_by(None, &snapshot, 0).await, Err(TierError::Redis(_))));
    }
    assert!(tier.get(&snapshot.key).await.unwrap().is_some());
    assert_eq!(tier.remove(&scope("1", None)).await.unwrap(), 1);
}

#[tokio::test]
async fn the_index_forgets_what_has_expired() {
    use fred::interfaces::SortedSetsInterface as _;
    let (_server, tier) = connected().await;
    let index = tier.names(&UserId::parse("1").unwrap()).index();
    for strategy in 1..=20 {
        tier.put_by(None, &sealed("1", Some(strategy), 0, TimeDelta::milliseconds(100), parts(5)), 0).await.unwrap();
    }
    eventually("they expire", || async { tier.get(&key("1", Some(20))).await.unwrap().is_none() }).await;
    tier.put_by(None, &snapshot("1", None, 0), 0).await.unwrap();
    assert_eq!(client(&tier).zcard::<i64, _>(&index).await.unwrap(), 1);
    let left: i64 = client(&tier).pttl(&index).await.unwrap();
    assert!(left > 3_590_000, "the index lives as long as its longest record: {left}");
}

#[tokio::test]
async fn a_redis_that_hangs_costs_the_timeout_until_the_breaker_opens() {
    let (server, tier) = connected().await;
    let snapshot = snapshot("1", None, 0);
    tier.put_by(None, &snapshot, 0).await.unwrap();
    server.freeze();
    let clock = Clock::system();
    for _ in 0..FAILURES_MAX {
        let began = clock.now();
        assert!(matches!(tier.get(&snapshot.key).await, Err(TierError::Timeout)));
        let took = clock.now().since(began);
        assert!(took < 2 * tier.timeout, "{took:?}");
    }
    assert_eq!(tier.guard.stats().breaker_state, "open");
    let began = clock.now();
    assert!(matches!(tier.get(&snapshot.key).await, Err(TierError::Open)));
    assert!(matches!(tier.put_by(None, &snapshot, 0).await, Err(TierError::Open)));
    assert!(matches!(tier.remove(&scope("1", None)).await, Err(TierError::Open)));
    assert!(matches!(tier.publish(String::new()).await, Err(TierError::Open)));
    assert!(clock.now().since(began) < tier.timeout, "none of them waited");
    assert_eq!(tier.guard.stats().last_error, "timed out");

    server.thaw();
    probed_until_closed(&tier).await;
    assert!(tier.get(&snapshot.key).await.unwrap().is_some());
}

#[tokio::test]
async fn publishing_finds_out_that_redis_hangs() {
    let (server, tier) = connected().await;
    tier.publish("1".to_owned()).await.unwrap();
    server.freeze();
    for _ in 0..FAILURES_MAX {
        assert!(matches!(tier.publish("2".to_owned()).await, Err(TierError::Timeout)));
    }
    assert!(matches!(tier.publish("3".to_owned()).await, Err(TierError::Open)));
    server.thaw();
    probed_until_closed(&tier).await;
    tier.publish("4".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_swallows_everything_is_replaced() {
    let server = redis().await;
    let proxy = Proxy::before(server.port).await;
    let tier = tier_at(format!("redis://{}", proxy.address)).await;
    assert!(tier.connected_within(Duration::from_secs(10)).await);
    let snapshot = snapshot("1", None, 0);
    tier.put_by(None, &snapshot, 0).await.unwrap();
    proxy.silence();
    for _ in 0..FAILURES_MAX {
        assert!(matches!(tier.get(&snapshot.key).await, Err(TierError::Timeout)));
    }
    probed_until_closed(&tier).await;
    assert!(tier.get(&snapshot.key).await.unwrap().is_some());
}

#[tokio::test]
async fn starts_without_redis_and_finds_it_when_it_comes() {
    let mut server = Redis::absent();
    let clock = Clock::system();
    let began = clock.now();
    let tier = tier(&server).await;
    let snapshot = snapshot("1", None, 0);
    assert!(matches!(tier.get(&snapshot.key).await, Err(TierError::Redis(_))));
    assert!(clock.now().since(began) < Duration::from_millis(100));
    for _ in 0..FAILURES_MAX {
        let _ = tier.get(&snapshot.key).await;
    }
    assert_eq!(tier.guard.stats().breaker_state, "open");

    server.start().await;
    probed_until_closed(&tier).await;
    tier.put_by(None, &snapshot, 0).await.unwrap();
    assert!(tier.get(&snapshot.key).await.unwrap().is_some());

    server.kill().await;
    eventually("the loss is noticed", || async { tier.get(&snapshot.key).await.is_err() }).await;
    for _ in 0..FAILURES_MAX {
        let _ = tier.get(&snapshot.key).await;
    }
    server.start().await;
    probed_until_closed(&tier).await;
    assert!(tier.get(&snapshot.key).await.unwrap().is_none(), "its data is lost, and that is a miss");

    tier.close().await;
    assert!(tier.get(&snapshot.key).await.is_err());
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_refused() {
    for url in [None, Some("not a url"), Some("redis-sentinel://127.0.0.1")] {
        let config = config::RedisSettings { url: url.map(Secret::new), ..config::RedisSettings::default() };
        assert!(RedisTier::connect(&config, Clock::system()).await.is_err(), "{url:?}");
    }
}
