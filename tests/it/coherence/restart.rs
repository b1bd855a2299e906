//! What was acknowledged holds after a crash, and after the loss of the cache's own database.

use sea_orm::ConnectionTrait;
use tonic::Code;
use userdata::proto::v1::CacheStatus;

use testkit::{
    ask::{everything_of, get, invalidate, of, reason, stats},
    cluster::{Layout, cluster},
    database::Kind,
};

#[tokio::test]
async fn an_acknowledged_invalidation_survives_a_crash_right_after_it() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let mut cluster = cluster(layout).await;
        if layout == Layout::Postgres {
            cluster = cluster.with_redis().await;
        }
        cluster.sources.add_user("1", &[11]).await;
        let mut server = cluster.serve().await;
        let client = server.client().await;
        get(&client, of("1")).await.unwrap();
        cluster.has_stored(1).await;
        cluster.save_tiers().await;
        for crash in 1..=3 {
            cluster.sources.write(11, crash).await;
            invalidate(&server.client().await, everything_of("1")).await.unwrap();
            server.kill().await;
            // Copies are dropped before OK, but that is best effort: as if nothing had been dropped.
            cluster.put_saved_back().await;
            server.start().await;
            let client = server.client().await;
            assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, crash), "{layout:?}");
            let copies = 1 + i64::from(cluster.redis.is_some());
            assert_eq!(stats(&client).await.superseded, copies, "{layout:?}: each tier had one");
        }
    }
}

#[tokio::test]
async fn redis_of_a_lost_database_is_not_readable() {
    let cluster = cluster(Layout::SqliteBesidePostgres).await.with_redis().await;
    cluster.sources.add_user("1", &[11]).await;
    let mut server = cluster.serve().await;
    let before = get(&server.client().await, of("1")).await.unwrap();
    cluster.has_stored(1).await;
    server.kill().await;

    cluster.cache.clone().close().await.unwrap();
    let url = &cluster.database().url;
    let file = url.trim_start_matches("sqlite://").split('?').next().unwrap();
    for file in [file.to_owned(), format!("{file}-wal"), format!("{file}-shm")] {
        let _ = std::fs::remove_file(file);
    }
    cluster.sources.write(11, 1).await;
    server.start().await;
    let client = server.client().await;
    let after = get(&client, of("1")).await.unwrap();
    assert_eq!(after.facts(), (CacheStatus::Assembled, 1));
    let of_redis = stats(&client).await.tiers[1].clone();
    assert_eq!((of_redis.hits, of_redis.errors), (0, 0), "it was asked: {of_redis:?}");
    let log = |token: &str| token.rsplit_once(':').unwrap().0.to_owned();
    assert_ne!(log(&before.token), log(&after.token));
    // What the lost log's owner had stored gives way to what is stored now.
    cluster.database().wait_for_documents(1).await;
    server.kill().await;
    server.start().await;
    let again = get(&server.client().await, of("1")).await.unwrap();
    assert!(matches!(again.status, CacheStatus::HitRedis | CacheStatus::HitDatabase), "{again:?}");
}

#[tokio::test]
async fn an_invalidation_that_cannot_be_durable_says_so_and_empties_memory_all_the_same() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let cluster = cluster(layout).await;
        cluster.sources.add_user("1", &[11]).await;
        let server = cluster.serve().await;
        let client = server.client().await;
        get(&client, of("1")).await.unwrap();
        cluster.has_stored(1).await;
        assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitMemory, "{layout:?}");

        // SQLite: another process is writing. PostgreSQL: the log hangs, as a database that is gone does.
        let stuck = sea_orm::TransactionTrait::begin(&cluster.cache).await.unwrap();
        let lock = match cluster.database().kind() {
            Kind::Sqlite => "UPDATE invalidation_log_head SET low_watermark = low_watermark",
            Kind::Postgres => "LOCK TABLE invalidation_log_head IN ACCESS EXCLUSIVE MODE",
        };
        stuck.execute_unprepared(lock).await.unwrap();
        let refused = invalidate(&client, everything_of("1")).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::Unavailable, "INVALIDATION_NOT_DURABLE"),
            "{layout:?}"
        );
        stuck.rollback().await.unwrap();

        assert_ne!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitMemory, "{layout:?}");
        cluster.sources.write(11, 1).await;
        invalidate(&client, everything_of("1")).await.expect("it may be repeated");
        assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, 1), "{layout:?}");
    }
}

#[tokio::test]
async fn without_its_database_nothing_is_acknowledged_and_afterwards_all_is_well() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let server = cluster.serve().await;
    let client = server.client().await;
    get(&client, of("1")).await.unwrap();

    let database = cluster.database();
    database.shut().await;
    let refused = invalidate(&client, everything_of("1")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "INVALIDATION_NOT_DURABLE"));
    let refused = get(&client, of("1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "it was in memory, and is not any more");
    database.open().await;

    cluster.sources.write(11, 1).await;
    testkit::wait_for("an invalidation", async || invalidate(&client, everything_of("1")).await.ok()).await;
    let answer = testkit::wait_for("an answer", async || get(&client, of("1")).await.ok()).await;
    assert_eq!(answer.count, 1);
}
