//! A database that loses commits, as after a restore or an asynchronous failover: an instance that
//! had seen them notices, and nothing that was cached under the lost log is served any more.

use sea_orm::ConnectionTrait;
use userdata::proto::v1::CacheStatus;

use testkit::{
    ask::{everything_of, get, invalidate, of},
    cluster::{Layout, cluster},
    wait_for,
};

/// Two invalidations are appended, a document is cached, then `loss` happens to the log.
async fn a_new_log_begins(layout: Layout, loss: &[&str]) {
    let cluster = cluster(layout).await.with_redis().await;
    cluster.sources.add_user("1", &[11]).await;
    let server = cluster.serve().await;
    let client = server.client().await;
    invalidate(&client, everything_of("2")).await.unwrap();
    invalidate(&client, everything_of("1")).await.unwrap();
    let before = get(&client, of("1")).await.unwrap();
    cluster.has_stored(1).await;
    assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitMemory);

    cluster.sources.write(11, 1).await;
    for statement in loss {
        cluster.cache.execute_unprepared(statement).await.unwrap();
    }
    let log = |token: &str| token.rsplit_once(':').unwrap().0.to_owned();
    let old_log = log(&before.token);
    let after = wait_for("another log", async || {
        let answer = get(&client, of("1")).await.unwrap();
        (log(&answer.token) != old_log).then_some(answer)
    })
    .await;
    assert_eq!(after.facts(), (CacheStatus::Assembled, 1), "{layout:?} {loss:?}: not from memory, Redis or the table");

    assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::HitMemory, 1), "{layout:?} {loss:?}");
    cluster.sources.write(11, 2).await;
    let token = invalidate(&client, everything_of("1")).await.expect("service goes on");
    assert_ne!(log(&token), old_log, "{layout:?} {loss:?}");
    assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, 2), "{layout:?} {loss:?}");
}

#[tokio::test]
async fn lost_invalidations_begin_a_new_log() {
    const ROW: &str = "DELETE FROM invalidation_log WHERE position = 2";
    const HEAD: &str = "UPDATE invalidation_log_head SET position = 1";
    const WRITTEN_ON: &str = "UPDATE invalidation_log SET nonce = nonce + 1 WHERE position = 2";
    for layout in [Layout::Sqlite, Layout::Postgres] {
        for loss in [&[ROW, HEAD][..], &[ROW], &[HEAD], &[WRITTEN_ON]] {
            a_new_log_begins(layout, loss).await;
        }
    }
}
