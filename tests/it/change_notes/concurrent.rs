//! Writers that overlap.

use sea_orm::{ConnectionTrait, TransactionTrait};
use testkit::{
    database::{Kind, TestDatabase},
    postgres::{Postgres, own_postgres},
    sources::{Sources, sources, sources_in},
};
use userdata::model::Section::{Onboarding, Performance, Recommendations, Strategy};

use super::{Cluster, bits, told, watched};

#[tokio::test]
async fn a_row_that_becomes_the_newest_is_told_although_its_writer_saw_no_other() {
    let sources = sources(Kind::Postgres).await;
    let mut cluster = watched(&sources).await;
    let add = "INSERT INTO website_analyses (id, session_id, website_url, updated_at)";
    sources.database.execute(&format!("{add} VALUES (1, 1, 'first', '2025-01-01 00:00:00')")).await;
    cluster.read().await;

    // The first writer sees one row.
    let first = sources.db.begin().await.unwrap();
    first.execute_unprepared("UPDATE website_analyses SET updated_at = '2025-03-01 00:00:00'").await.unwrap();
    sources.database.execute(&format!("{add} VALUES (2, 1, 'second', '2025-02-01 00:00:00')")).await;
    let onboarding = bits(&[Onboarding]);
    assert_eq!(cluster.told().await, [format!("a {onboarding}")], "a reader shows the second row now");
    first.commit().await.unwrap();
    assert_eq!(cluster.told().await, [format!("a {onboarding}")], "and the first one again");

    sources.database.execute("DELETE FROM website_analyses WHERE id = 2").await;
    cluster.read().await;
    sources.database.execute("UPDATE website_analyses SET updated_at = '2025-04-01 00:00:00'").await;
    assert_eq!(cluster.told().await, [""; 0], "the only row is the newest whenever it was saved");
}

#[tokio::test]
async fn a_row_is_told_to_the_owner_that_its_parent_gets_meanwhile() {
    let sources = sources(Kind::Postgres).await;
    let mut cluster = watched(&sources).await;
    let onboarding = bits(&[Onboarding]);
    let moved = sources.db.begin().await.unwrap();
    moved.execute_unprepared("UPDATE onboarding_sessions SET user_id = 'b' WHERE id = 1").await.unwrap();
    // The child's writer does not see the parent's new owner, and the parent's does not see the child.
    let child = "INSERT INTO website_analyses (id, session_id, website_url) VALUES (1, 1, 'w')";
    sources.database.execute(child).await;
    assert_eq!(cluster.told().await, [format!("a {onboarding}")]);
    moved.commit().await.unwrap();
    assert_eq!(cluster.told().await, [format!("a {onboarding}"), format!("b {onboarding}")]);

    // Without a foreign key, a child may come first.
    let constraint = "ALTER TABLE website_analyses DROP CONSTRAINT website_analyses_session_id_fkey";
    sources.database.execute(constraint).await;
    cluster.read().await;
    let parent = sources.db.begin().await.unwrap();
    parent.execute_unprepared("INSERT INTO onboarding_sessions (id, user_id) VALUES (99, 'c')").await.unwrap();
    sources.database.execute("INSERT INTO website_analyses (id, session_id, website_url) VALUES (2, 99, 'w')").await;
    assert_eq!(cluster.told().await, [""; 0], "a row without a parent concerns no one");
    parent.commit().await.unwrap();
    assert_eq!(cluster.told().await, [format!("c {onboarding}")]);
}

#[tokio::test]
async fn an_owner_who_is_deleted_while_it_is_looked_for_is_told_at_once() {
    let sources = sources(Kind::Postgres).await;
    let mut cluster = watched(&sources).await;
    cluster.read().await;
    sources.database.execute("INSERT INTO website_analyses (id, session_id, website_url) VALUES (1, 1, 'w')").await;
    let held = sources.hold("onboarding_sessions").await;
    let delete = async {
        held.is_waited_for_by(1).await;
        held.run("DELETE FROM website_analyses; DELETE FROM onboarding_sessions WHERE id = 1").await;
        held.commit().await;
    };
    let (told, ()) = tokio::join!(cluster.told(), delete);
    assert_eq!(told, [format!("a {}", bits(&[Onboarding]))]);
}

/// A server of the test's own, which prepares transactions.
async fn preparing() -> (Postgres, Sources) {
    let mut server = own_postgres().await;
    server.administer().await.execute_unprepared("ALTER SYSTEM SET max_prepared_transactions = 5").await.unwrap();
    server.kill().await;
    server.start().await;
    let sources = sources_in(TestDatabase::on(&server, "postgres")).await;
    (server, sources)
}

#[tokio::test]
async fn each_cluster_reads_each_change_once_in_whatever_order_transactions_end() {
    let (_server, sources) = preparing().await;
    let mut cluster = watched(&sources).await;
    let mut other = Cluster::begin(&sources.database).await;
    let renamed =
        |id: i32, name: &str| format!("UPDATE enhanced_content_strategies SET name = '{name}' WHERE id = {id}");
    let strategy = bits(&[Strategy, Performance, Recommendations]);
    let (a, b) = (format!("a/11 {strategy}"), format!("b/12 {strategy}"));

    let long = sources.db.begin().await.unwrap();
    long.execute_unprepared(&renamed(11, "long")).await.unwrap();
    sources.database.execute(&format!("BEGIN; {}; PREPARE TRANSACTION 'kept'", renamed(12, "prepared"))).await;
    let saved = sources.db.begin().await.unwrap();
    saved.execute_unprepared("SAVEPOINT s").await.unwrap();
    saved.execute_unprepared("INSERT INTO onboarding_sessions (user_id) VALUES ('c')").await.unwrap();
    saved.execute_unprepared("RELEASE s").await.unwrap();
    assert_eq!(cluster.told().await, [""; 0]);
    sources.database.execute("INSERT INTO onboarding_sessions (user_id) VALUES ('d')").await;
    assert_eq!(cluster.told().await, ["d 1"]);
    assert_eq!(cluster.told().await, [""; 0], "once");
    saved.commit().await.unwrap();
    assert_eq!(cluster.told().await, ["c 1"], "in a subtransaction");
    sources.database.execute("COMMIT PREPARED 'kept'").await;
    assert_eq!(cluster.told().await, std::slice::from_ref(&b));
    long.commit().await.unwrap();
    assert_eq!(cluster.told().await, std::slice::from_ref(&a));
    assert_eq!(cluster.told().await, [""; 0]);
    assert!(cluster.outbox.is_consumed(&cluster.consumed).await.unwrap());

    // The other one has read nothing meanwhile.
    assert!(!other.outbox.is_consumed(&other.consumed).await.unwrap());
    assert_eq!(other.told().await, [a, b, "c 1".to_owned(), "d 1".to_owned()]);
    assert_eq!(other.told().await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_was_started_anew_may_give_transaction_ids_again() {
    let (mut server, sources) = preparing().await;
    let mut cluster = watched(&sources).await;
    sources.database.execute("INSERT INTO onboarding_sessions (user_id) VALUES ('c')").await;
    assert_eq!(cluster.told().await, ["c 1"]);
    // Rolled back, and not in the server's log.
    let lost = sources.db.begin().await.unwrap();
    lost.execute_unprepared("SELECT pg_current_xact_id()").await.unwrap();
    lost.rollback().await.unwrap();
    sources.database.execute("INSERT INTO onboarding_sessions (user_id) VALUES ('d')").await;
    assert_eq!(cluster.told().await, ["d 1"]);
    server.kill().await;
    server.start().await;
    let reading = cluster.read().await;
    assert!(reading.restarted && reading.discontinuity.is_none(), "{reading:?}");
    assert!(told(&reading).contains(&"d 1".to_owned()), "what is still there is read again: {reading:?}");
    assert!(!cluster.read().await.restarted);
}
