//! Rows that cannot be read cost themselves only: written by hand, by a newer version, or with a bit that flipped.

use sea_orm::ConnectionTrait;
use userdata::proto::v1::{CacheStatus, Freshness, GetComprehensiveUserDataRequest};

use testkit::{
    ask::{everything_of, get, invalidate, of},
    cluster::{Layout, cluster},
    wait_for,
};

/// At the log's next position, a row that no version writes. PostgreSQL would refuse it. A head without its row, between
/// the two statements, would be another fault.
const UNREADABLE: &str = "BEGIN IMMEDIATE; \
     UPDATE invalidation_log_head SET position = position + 1; \
     INSERT INTO invalidation_log (position, user_hash, sections, nonce) \
     SELECT position, 'a', 127, 77 FROM invalidation_log_head; \
     COMMIT";

#[tokio::test]
async fn an_unreadable_row_of_the_log_outdates_everything_before_it_and_nothing_more() {
    let cluster = cluster(Layout::Sqlite).await;
    cluster.sources.add_user("1", &[11]).await;
    let server = cluster.serve().await;
    let client = server.client().await;
    get(&client, of("1")).await.unwrap();
    assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitMemory);
    cluster.sources.write(11, 1).await;
    cluster.cache.execute_unprepared(UNREADABLE).await.unwrap();
    let strict = || GetComprehensiveUserDataRequest { freshness: Freshness::Strict.into(), ..of("1") };
    wait_for("what was cached is outdated", async || {
        let answer = get(&client, strict()).await.unwrap();
        (answer.verified && answer.facts() == (CacheStatus::Assembled, 1)).then_some(())
    })
    .await;
    assert_eq!(get(&client, strict()).await.unwrap().facts(), (CacheStatus::HitMemory, 1));

    invalidate(&client, everything_of("1")).await.expect("the log goes on");
    let other = cluster.serve().await;
    let answer = get(&other.client().await, strict()).await.unwrap();
    assert!(answer.verified, "an instance that starts reads the log");
    let said = server.log();
    assert!(said.contains("invalidation log has an unreadable row") && said.contains("position=1"), "{said}");
}
