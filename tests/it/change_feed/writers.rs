//! What a writer may expect who only commits.

use std::time::Duration;

use tokio::time::Instant;
use userdata::{
    changes,
    proto::v1::{Changes, Freshness},
};

use super::{LEASE, changes_of, fed, get_with, is_verified, observe, with_feed};
use testkit::{
    ask::{get, of},
    cluster::{Layout, cluster},
    server::serve,
};

const LAYOUTS: [Layout; 3] = [Layout::Sqlite, Layout::SqliteBesidePostgres, Layout::Postgres];

#[tokio::test]
async fn a_committed_change_outdates_every_verified_answer_within_a_second() {
    for layout in LAYOUTS {
        let fed = fed(cluster(layout).await, 2).await;
        for count in 1..=5 {
            fed.cluster.sources.write(11, count).await;
            let committed = Instant::now();
            for client in &fed.clients {
                observe(client, count, committed, LEASE + Duration::from_millis(200)).await;
                is_verified(client, count).await;
            }
        }
    }
}

#[tokio::test]
async fn a_linearizable_answer_has_the_callers_own_commit() {
    for layout in LAYOUTS {
        let fed = fed(cluster(layout).await, 2).await;
        for count in 1..=40 {
            fed.cluster.sources.write(11, count).await;
            let client = &fed.clients[usize::try_from(count % 2).unwrap()];
            let answer = get_with(client, Freshness::Linearizable).await.unwrap();
            assert_eq!((answer.count, answer.verified), (count, true), "{layout:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_says_whether_changes_make_themselves_known() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    // As before the triggers are installed for the first time.
    for table in ["invalidation_outbox", "invalidation_outbox_consumer", "invalidation_outbox_state"] {
        cluster.sources.database.execute(&format!("DROP TABLE {table}")).await;
    }
    let without = serve(cluster.settings()).await;
    let before = serve(with_feed(&cluster)).await;
    for server in [&without, &before] {
        let client = server.client().await;
        assert!(get(&client, of("1")).await.unwrap().verified, "as ever: nothing was promised about changes");
        assert_eq!(changes_of(&client).await, Changes::NotWatched);
    }
    changes::install(&cluster.sources.db).await.unwrap();
    // It looks for the outbox every 10 s.
    let client = before.client().await;
    testkit::wait_for("the outbox to be found", async || (changes_of(&client).await == Changes::Known).then_some(()))
        .await;
    is_verified(&client, 0).await;
    assert_eq!(changes_of(&without.client().await).await, Changes::NotWatched);
}
