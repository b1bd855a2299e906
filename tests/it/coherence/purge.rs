//! Erasure: when it is acknowledged, no tier holds anything of the user.

use sea_orm::ConnectionTrait;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use userdata::proto::v1::{CacheStatus, InvalidateCacheRequest};

use testkit::{
    ask::{everything_of, get, invalidate, of, of_strategy, reason},
    cluster::{Cluster, Layout, cluster},
    server::{Client, Server, serve},
    sources::count,
    wait_for,
};

fn purge() -> InvalidateCacheRequest {
    InvalidateCacheRequest { purge: true, ..everything_of("1") }
}

/// Two documents and an AI response of user 1, an AI response of user 2.
async fn filled(layout: Layout) -> (Cluster, Server, Client) {
    let cluster = cluster(layout).await.with_redis().await;
    cluster.sources.add_user("1", &[11]).await;
    // Each of the memory tier's engines has its turn.
    let engine = if layout == Layout::Sqlite { "quick-cache" } else { "mini-moka" };
    let server = serve(cluster.settings().with("memory.engine", engine)).await;
    let client = server.client().await;
    get(&client, of("1")).await.unwrap();
    get(&client, of_strategy("1", 11)).await.unwrap();
    cluster.has_stored(2).await;
    for user in 1..=2 {
        let response = format!(
            "INSERT INTO ai_response_cache (request_hash, user_id, model, prompt_version, response, created_at, last_used_at) \
             VALUES ('hash{user}', '{user}', 'm', '1', '{{}}', '2025-01-01 00:00:00', '2025-01-01 00:00:00')"
        );
        cluster.cache.execute_unprepared(&response).await.unwrap();
    }
    (cluster, server, client)
}

async fn nothing_is_left(cluster: &Cluster) {
    let rows = "SELECT COUNT(*) FROM comprehensive_user_data_cache";
    assert_eq!(count(&cluster.cache, rows).await, 0, "not even one that counts accesses");
    assert_eq!(cluster.redis.as_ref().unwrap().keys_of_users().await, 0);
    let responses = "SELECT COUNT(*) FROM ai_response_cache WHERE user_id = ";
    assert_eq!(count(&cluster.cache, &format!("{responses}'1'")).await, 0);
    assert_eq!(count(&cluster.cache, &format!("{responses}'2'")).await, 1, "another user's");
}

/// How often a text stands in the files of the embedded database: in the database itself, its log and its index.
fn found_in_files(cluster: &Cluster, text: &str) -> usize {
    let file = userdata::database::file_of(&cluster.database().url).unwrap();
    let files = ["", "-wal", "-shm"].map(|suffix| std::fs::read(format!("{}{suffix}", file.display())));
    let contents = files.into_iter().flatten().flatten().collect::<Vec<u8>>();
    contents.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

fn tier(refused: &Status) -> String {
    refused.get_details_error_info().unwrap().metadata["tier"].clone()
}

#[tokio::test]
async fn a_purge_leaves_neither_row_nor_record_nor_ai_response() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let (cluster, _server, client) = filled(layout).await;
        let purged = client.clone().invalidate_cache(purge()).await.unwrap().into_inner();
        nothing_is_left(&cluster).await;
        assert_eq!(purged.removed_entries, 2, "{layout:?}");
        let memory = &testkit::ask::stats(&client).await.tiers[0];
        assert_eq!(memory.entries, Some(0), "{layout:?}");
        invalidate(&client, purge()).await.expect("it may be repeated");
        assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::Assembled, "{layout:?}");
    }
}

/// With the cache in a file of its own: what the sources keep of the user is theirs.
#[tokio::test]
async fn a_purge_leaves_neither_documents_nor_the_users_id_in_the_files_of_the_embedded_database() {
    const USER: &str = "user_2bErasedBy33GzPurge";
    const MARK: &str = "a mark that only this user has";
    let cluster = cluster(Layout::SqliteBesidePostgres).await;
    cluster.sources.add_user(USER, &[11]).await;
    cluster
        .sources
        .db
        .execute_unprepared(&format!("UPDATE enhanced_content_strategies SET industry = '{MARK}'"))
        .await
        .unwrap();
    let server = cluster.serve().await;
    let client = server.client().await;
    for _ in 0..5 {
        get(&client, of(USER)).await.unwrap();
        cluster.has_stored(1).await;
        invalidate(&client, everything_of(USER)).await.unwrap();
    }
    get(&client, of(USER)).await.unwrap();
    cluster.has_stored(1).await;
    let left = || [MARK, USER].map(|of_the_user| found_in_files(&cluster, of_the_user));
    assert!(left().iter().all(|times| *times > 0), "the document was stored: {:?}", left());
    invalidate(&client, InvalidateCacheRequest { purge: true, ..everything_of(USER) }).await.unwrap();
    assert_eq!(left(), [0, 0]);
}

#[tokio::test]
async fn a_purge_that_cannot_reach_redis_says_so_and_succeeds_once_it_can() {
    let (mut cluster, _server, client) = filled(Layout::Postgres).await;
    cluster.redis().freeze();
    let refused = invalidate(&client, purge()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "PURGE_INCOMPLETE"));
    assert_eq!(tier(&refused), "redis");
    cluster.sources.write(11, 1).await;
    cluster.redis().thaw();
    wait_for("the purge to succeed", async || invalidate(&client, purge()).await.ok()).await;
    nothing_is_left(&cluster).await;
    assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, 1));
}

#[tokio::test]
async fn a_purge_that_cannot_clean_the_table_says_so() {
    let (cluster, _server, client) = filled(Layout::Postgres).await;
    let stuck = sea_orm::TransactionTrait::begin(&cluster.cache).await.unwrap();
    stuck.execute_unprepared("LOCK TABLE comprehensive_user_data_cache IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let refused = invalidate(&client, purge()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "PURGE_INCOMPLETE"));
    assert_eq!(tier(&refused), "database");
    stuck.rollback().await.unwrap();
    invalidate(&client, purge()).await.unwrap();
    nothing_is_left(&cluster).await;
}
