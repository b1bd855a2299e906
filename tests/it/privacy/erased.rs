//! Erasure deletes the key: on every instance, for every copy.

use tokio_util::task::TaskTracker;
use tonic::Code;
use userdata::proto::v1::InvalidateCacheRequest;

use super::*;
use testkit::{
    ask::reason,
    postgres::postgres,
    proxy::{Network, Proxy},
};

/// What a backup of the cache's database contains.
const TABLES: [&str; 4] =
    ["invalidation_log", "invalidation_log_head", "comprehensive_user_data_cache", "ai_response_cache"];

fn purge(user: &str) -> InvalidateCacheRequest {
    InvalidateCacheRequest { purge: true, ..everything_of(user) }
}

async fn run(cluster: &Cluster, sql: &str) {
    cluster.cache.execute_unprepared(sql).await.unwrap();
}

/// Without encryption the restored document is served: nothing in the restored databases tells of the erasure.
#[tokio::test]
async fn documents_restored_from_before_a_purge_are_unreadable_with_the_keys_of_now() {
    for (encrypt, with_redis) in [(false, true), (false, false), (true, true), (true, false)] {
        let (mut cluster, keys) =
            (with_users(Layout::PostgresBesidePostgres).await, key_database(Kind::Postgres).await);
        if with_redis {
            cluster = cluster.with_redis().await;
        }
        let settings = if encrypt { keys.encrypting(cluster.settings()) } else { cluster.settings() };
        let mut server = serve(settings.clone()).await;
        let client = server.client().await;
        for user in ["1", "2"] {
            get(&client, of(user)).await.unwrap();
        }
        wait_for("rows", async || (cluster.rows().await == 2).then_some(())).await;
        for table in TABLES {
            run(&cluster, &format!("CREATE TABLE backup_of_{table} AS SELECT * FROM {table}")).await;
        }
        if with_redis {
            assert_eq!(cluster.redis().command("SAVE").await, "+OK");
        }
        invalidate(&client, purge("1")).await.unwrap();
        assert_eq!(cluster.rows().await, 1);
        // User 1 is a user again, with another key, before the disaster.
        get(&client, of("1")).await.unwrap();
        wait_for("rows", async || (cluster.rows().await == 2).then_some(())).await;
        server.terminate().await;

        for table in TABLES {
            run(&cluster, &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM backup_of_{table}")).await;
        }
        if with_redis {
            cluster.redis().kill().await;
            cluster.redis().start().await;
        }
        let server = serve(settings).await;
        let client = server.client().await;
        let found = if with_redis { CacheStatus::HitRedis } else { CacheStatus::HitDatabase };
        let expected = if encrypt { CacheStatus::Assembled } else { found };
        assert_eq!(get(&client, of("1")).await.unwrap().status, expected, "{encrypt} {with_redis}");
        assert_eq!(get(&client, of("2")).await.unwrap().status, found, "another user's: {encrypt} {with_redis}");
    }
}

#[tokio::test]
async fn a_purge_drops_the_key_on_every_instance_and_they_go_on_with_the_next_one() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let layout = if kind == Kind::Sqlite { Layout::Sqlite } else { Layout::Postgres };
        let (cluster, keys) = (with_users(layout).await, key_database(kind).await);
        // Hours, so that only the purge ends it.
        let settings = keys.encrypting(cluster.settings()).with("privacy.keys_cached_for", "1h");
        let (one, two) = (serve(settings.clone()).await, serve(settings).await);
        let (client, other) = (one.client().await, two.client().await);
        get(&client, of("1")).await.unwrap();
        wait_for("rows", async || (cluster.rows().await == 1).then_some(())).await;
        assert_eq!(get(&other, of("1")).await.unwrap().status, CacheStatus::HitDatabase, "{kind:?}");
        assert_eq!(held(&two).await, 1, "{kind:?}");
        let before = keys.ids().await;

        invalidate(&client, purge("1")).await.unwrap();
        assert_eq!((held(&one).await, held(&two).await), (0, 0), "{kind:?}: when it is acknowledged");
        assert_eq!(keys.ids().await, Vec::<String>::new(), "{kind:?}");

        assert_eq!(get(&other, of("1")).await.unwrap().status, CacheStatus::Assembled, "{kind:?}");
        wait_for("rows", async || (cluster.rows().await == 1).then_some(())).await;
        assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitDatabase, "{kind:?}: by the same key");
        assert!(keys.ids().await.len() == 1 && keys.ids().await != before, "{kind:?}");
    }
}

/// Keys that an instance holds, as its metrics say.
async fn held(server: &testkit::server::Server) -> i64 {
    let (_, page) = server.probe("/metrics").await;
    let line =
        page.lines().find(|line| line.starts_with("userdata_user_keys_held")).unwrap_or_else(|| panic!("{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// As long as encryption was on once, backups may hold encrypted values.
#[tokio::test]
async fn a_purge_deletes_the_key_although_encryption_is_off_again() {
    let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(Kind::Sqlite).await);
    let mut server = serve(keys.encrypting(cluster.settings())).await;
    get(&server.client().await, of("1")).await.unwrap();
    wait_for("rows", async || (cluster.rows().await == 1).then_some(())).await;
    server.terminate().await;
    let server = serve(keys.named_in(cluster.settings())).await;
    let client = server.client().await;
    assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::Assembled, "an encrypted row is not used");
    assert_eq!(keys.ids().await.len(), 1);
    invalidate(&client, purge("1")).await.unwrap();
    assert_eq!(keys.ids().await.len(), 0);
}

#[tokio::test]
async fn a_purge_that_cannot_delete_the_key_says_so_and_succeeds_once_it_can() {
    let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(Kind::Postgres).await);
    let server = serve(keys.encrypting(cluster.settings())).await;
    let client = server.client().await;
    get(&client, of("1")).await.unwrap();
    wait_for("rows", async || (cluster.rows().await == 1).then_some(())).await;
    keys.database.shut().await;
    let refused = invalidate(&client, purge("1")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "PURGE_INCOMPLETE"));
    let details = tonic_types::StatusExt::get_details_error_info(&refused).unwrap();
    assert_eq!(details.metadata["tier"], "keys");
    assert_eq!(cluster.rows().await, 0, "all else is erased");
    keys.database.open().await;
    wait_for("the purge to succeed", async || invalidate(&client, purge("1")).await.ok()).await;
    assert_eq!(keys.ids().await.len(), 0);
}

/// It does not know of the erasure, which is acknowledged without it once its lease has lapsed.
#[tokio::test]
async fn an_instance_that_cannot_read_the_log_stores_nothing_of_an_erased_user() {
    let cluster = with_users(Layout::PostgresBesidePostgres).await.with_redis().await;
    let keys = key_database(Kind::Postgres).await;
    let endpoint = FakeAi::saying([Say::answer(&valid_answer()), Say::answer(&valid_answer())]).await;
    endpoint.hold();
    let settings = keys.encrypting(cluster.settings());
    let settings = settings.with("ai.base_url", endpoint.base_url()).with("ai.model", "fake-1");
    let erasing = serve(settings.clone()).await;
    let proxy = Proxy::before(postgres().await.port).await;
    let cut_off = settings.with("database.url", proxy.url(&cluster.database().url));
    let mut cut_off = serve(cut_off).await;
    let client = cut_off.client().await;
    let loading = TaskTracker::new().spawn(async move { get(&client, of("1")).await });
    endpoint.called(1).await;
    proxy.set(Network::Refuse);
    invalidate(&erasing.client().await, purge("1")).await.unwrap();
    endpoint.release();
    loading.await.unwrap().unwrap();
    // What is behind the answer ends before the process does.
    cut_off.terminate().await;
    let redis = cluster.redis.as_ref().unwrap();
    assert_eq!(redis.keys_of_users().await, 0);
}
