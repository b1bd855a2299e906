//! An invalidation that falls into a running load: the case that deleting from a cache gets wrong.

use userdata::proto::v1::{CacheStatus, InvalidateCacheRequest};

use testkit::{
    ask::{everything_of, get, invalidate, of, of_strategy, stats},
    cluster::{Cluster, Layout, cluster},
    sources::OF_STRATEGY,
};

/// A load reads count 0 and is held; the count becomes 1, and that is announced.
async fn the_load_is_never_seen_again(mut cluster: Cluster, announced: InvalidateCacheRequest) {
    cluster.sources.add_user("1", &[11, 12]).await;
    let mut server = cluster.serve().await;
    let client = server.client().await;

    let held = cluster.sources.hold(OF_STRATEGY).await;
    let sources = &cluster.sources;
    let older = get(&client, of("1"));
    let newer = async {
        held.is_waited_for_by(1).await;
        sources.write(11, 1).await;
        invalidate(&client, announced).await.unwrap();
        let newer = get(&client, of("1"));
        let release = async {
            held.is_waited_for_by(2).await;
            held.release().await;
        };
        tokio::join!(newer, release).0.unwrap()
    };
    let (older, newer) = tokio::join!(older, newer);
    assert_eq!(older.unwrap().facts(), (CacheStatus::Assembled, 0), "it was asked for before the invalidation");
    assert_eq!(newer.facts(), (CacheStatus::Assembled, 1), "it did not join the load that was running");
    assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::HitMemory, 1));

    // The end of the process waits for what is stored behind the answers: the older load's attempt, too.
    server.terminate().await;
    cluster.has_stored(1).await;
    server.start().await;
    let first = get(&server.client().await, of("1")).await.unwrap();
    if cluster.redis.is_none() {
        assert_eq!(first.facts(), (CacheStatus::HitDatabase, 1));
        return;
    }
    assert_eq!(first.facts(), (CacheStatus::HitRedis, 1));
    cluster.redis().kill().await;
    server.kill().await;
    server.start().await;
    assert_eq!(get(&server.client().await, of("1")).await.unwrap().facts(), (CacheStatus::HitDatabase, 1));
}

#[tokio::test]
async fn a_load_that_an_invalidation_falls_into_is_never_seen_again_with_a_file() {
    the_load_is_never_seen_again(cluster(Layout::SqliteBesidePostgres).await, everything_of("1")).await;
}

#[tokio::test]
async fn a_load_that_an_invalidation_falls_into_is_never_seen_again_with_postgres_and_redis() {
    the_load_is_never_seen_again(cluster(Layout::Postgres).await.with_redis().await, everything_of("1")).await;
}

#[tokio::test]
async fn a_load_without_strategy_is_outdated_by_an_invalidation_of_its_strategy() {
    let one_strategy = InvalidateCacheRequest { strategy_id: Some(11), ..everything_of("1") };
    the_load_is_never_seen_again(cluster(Layout::Postgres).await.with_redis().await, one_strategy).await;
}

#[tokio::test]
async fn an_invalidated_strategy_leaves_the_others_alone() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let cluster = cluster(layout).await;
        cluster.sources.add_user("1", &[11, 12]).await;
        let server = cluster.serve().await;
        let client = server.client().await;
        let keys = [of("1"), of_strategy("1", 11), of_strategy("1", 12)];
        for key in &keys {
            assert_eq!(get(&client, key.clone()).await.unwrap().facts(), (CacheStatus::Assembled, 0), "{layout:?}");
        }
        for strategy in [11, 12] {
            cluster.sources.write(strategy, 1).await;
        }
        let one = InvalidateCacheRequest { strategy_id: Some(11), ..everything_of("1") };
        invalidate(&client, one).await.unwrap();
        let expected = [(CacheStatus::Assembled, 1), (CacheStatus::Assembled, 1), (CacheStatus::HitMemory, 0)];
        for (key, expected) in keys.into_iter().zip(expected) {
            let of_which = key.strategy_id;
            assert_eq!(get(&client, key).await.unwrap().facts(), expected, "{layout:?}: {of_which:?}");
        }
    }
}

#[tokio::test]
async fn copies_that_come_back_later_are_refused_in_every_tier() {
    for layout in [Layout::SqliteBesidePostgres, Layout::Postgres] {
        let mut cluster = cluster(layout).await.with_redis().await;
        cluster.sources.add_user("1", &[11]).await;
        let server = cluster.serve().await;
        let client = server.client().await;
        get(&client, of("1")).await.unwrap();
        cluster.has_stored(1).await;
        cluster.save_tiers().await;
        cluster.sources.write(11, 1).await;
        invalidate(&client, everything_of("1")).await.unwrap();
        cluster.has_stored(0).await;

        cluster.put_saved_back().await;
        cluster.has_stored(1).await;
        assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, 1), "{layout:?}");

        cluster.has_replaced_saved().await;
        // The copies are older than what replaced them, and again they come later.
        cluster.put_saved_back().await;
        assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::HitMemory, 1), "{layout:?}");
        let other = cluster.serve().await;
        let other_client = other.client().await;
        let answer = get(&other_client, of("1")).await.unwrap();
        assert_eq!(answer.facts(), (CacheStatus::Assembled, 1), "{layout:?}");
        assert_eq!(stats(&other_client).await.superseded, 2, "{layout:?}: Redis' and the row");
    }
}
