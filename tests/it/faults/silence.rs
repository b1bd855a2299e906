//! Connections to the database that carry nothing any more and are not closed: a firewall forgot them, or the machine
//! at the other end is gone. No caller waits for what was left behind on them.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait};
use tokio::time::Instant;

use testkit::{
    ask::{everything_of, get, invalidate, of, reason},
    cluster::{Layout, cluster},
    lines::by_lines,
    proxy::Network,
    server::serve,
    sources::count,
    wait_for,
};

/// Within this everything is as before. It takes some timeouts of half a second.
const RECOVERED: Duration = Duration::from_secs(10);

/// Readers and writers of the log wait for it, until it is rolled back.
async fn hold_the_log(cache: &DatabaseConnection) -> DatabaseTransaction {
    let holder = cache.begin().await.unwrap();
    holder.execute_unprepared("LOCK TABLE invalidation_log_head IN ACCESS EXCLUSIVE MODE").await.unwrap();
    holder
}

/// Waits until so many statements wait for a lock.
async fn wait(cache: &DatabaseConnection, statements: i64) {
    let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    wait_for("statements to wait", async || (count(cache, sql).await >= statements).then_some(())).await;
}

#[tokio::test]
async fn an_instance_replaces_its_silent_connections_however_often_that_happens() {
    let cluster = cluster(Layout::PostgresBesidePostgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let (settings, lines) = by_lines(cluster.settings().with("database.timeout", "1s")).await;
    let database = lines.database.unwrap();
    let server = serve(settings).await;
    let client = server.client().await;
    wait_for("an acknowledgement", async || invalidate(&client, everything_of("1")).await.ok()).await;
    // The log has eight connections, of which each round silences the poll's and the commit's.
    for round in 1..=5 {
        let held = hold_the_log(&cluster.cache).await;
        let silenced = async {
            wait(&cluster.cache, 2).await;
            database.set(Network::Blackhole);
            held.rollback().await.unwrap();
        };
        let (refused, ()) = tokio::join!(invalidate(&client, everything_of("1")), silenced);
        assert_eq!(
            refused.map_err(|status| reason(&status)),
            Err("INVALIDATION_NOT_DURABLE".to_owned()),
            "round {round}"
        );
        assert!(get(&client, of("1")).await.is_ok(), "the sources are elsewhere");
        database.restore();
        let restored = Instant::now();
        wait_for("an acknowledgement", async || invalidate(&client, everything_of("1")).await.ok()).await;
        wait_for("a verified answer", async || get(&client, of("1")).await.unwrap().verified.then_some(())).await;
        let took = restored.elapsed();
        assert!(took < RECOVERED, "round {round} took {took:?}");
    }
}

#[tokio::test]
async fn a_commit_that_is_cut_off_in_the_middle_does_not_keep_others_from_theirs() {
    let cluster = cluster(Layout::PostgresBesidePostgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let settings = cluster.settings().with("database.timeout", "2s");
    let (cut_off, lines) = by_lines(settings.clone()).await;
    let database = lines.database.unwrap();
    let (here, there) = (serve(cut_off).await, serve(settings).await);
    let (client, other) = (here.client().await, there.client().await);
    invalidate(&client, everything_of("1")).await.unwrap();

    // A commit waits for the head. When it gets it, nothing goes to or from it any more.
    let held = cluster.cache.begin().await.unwrap();
    held.execute_unprepared("UPDATE invalidation_log_head SET low_watermark = low_watermark").await.unwrap();
    let silenced = async {
        wait(&cluster.cache, 1).await;
        database.set(Network::Blackhole);
        held.rollback().await.unwrap();
    };
    let (refused, ()) = tokio::join!(invalidate(&client, everything_of("1")), silenced);
    assert_eq!(reason(&refused.unwrap_err()), "INVALIDATION_NOT_DURABLE");
    let asked = Instant::now();
    wait_for("an acknowledgement", async || invalidate(&other, everything_of("1")).await.ok()).await;
    let took = asked.elapsed();
    assert!(took < RECOVERED, "{took:?}");
}
