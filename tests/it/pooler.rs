//! PgBouncer before PostgreSQL: instances behind it do all that they do without it, and one under which their settings
//! would not take effect is refused.

mod refused;
mod statements;

use userdata::{
    changes,
    privacy::new_master_key,
    proto::v1::{CacheStatus, CleanupCacheRequest, GetCacheStatsRequest, WarmCacheRequest},
};
use userdata_migrations::{Tables, up};

use testkit::{
    ask::{everything_of, get, invalidate, is_verified, of},
    cluster::{Layout, cluster},
    command::userdata_with,
    database::{Kind, TestDatabase, database, migrate_cache},
    pgbouncer::{PgBouncer, pgbouncer},
    postgres::postgres,
    server::{Settings, serve},
    sources::sources_in,
};

const TRANSACTION: &str = "pool_mode = transaction";

/// A database, and PgBouncer before it.
async fn behind(settings: &[&str]) -> (TestDatabase, PgBouncer, String) {
    let database = database(Kind::Postgres).await;
    let pooler = pgbouncer(postgres().await, settings).await;
    let url = pooler.url(database.url.rsplit('/').next().unwrap());
    (database, pooler, url)
}

/// Two instances, with four callers each, and a change that a trigger tells.
async fn instances_serve(mode: &str, server_connections: u32) {
    let (database, _pooler, url) = behind(&[mode, &format!("default_pool_size = {server_connections}")]).await;
    let sources = sources_in(database).await;
    let users: Vec<String> = (1..=8).map(|user| user.to_string()).collect();
    for (user, strategy) in users.iter().zip(11..) {
        sources.add_user(user, &[strategy]).await;
    }
    let environment = [("USERDATA__DATABASE__URL", url.as_str()), ("USERDATA__DATABASE__POOLER", "transaction")];
    for command in [&["migrate", "up"][..], &["triggers", "install"]] {
        let ran = userdata_with(command, &environment).await;
        assert_eq!(ran.exit_code, 0, "{ran:?}");
    }
    let settings = Settings::on(&url).with("database.pooler", "transaction").with("sources.change_feed", true);
    let servers = [serve(settings.clone()).await, serve(settings).await];
    let clients = [servers[0].client().await, servers[1].client().await];
    is_verified(&clients[0], 0).await;
    let callers = (0..8).map(async |caller| {
        let client = &clients[caller % 2];
        for turn in 0..10 {
            let user = &users[(caller + turn) % users.len()];
            invalidate(client, everything_of(user)).await.unwrap();
            if turn % 2 == 0 {
                get(client, of(user)).await.unwrap();
            }
        }
    });
    futures::future::join_all(callers).await;
    sources.write(11, 7).await;
    for client in &clients {
        is_verified(client, 7).await;
    }
    for mut client in clients {
        let listed = GetCacheStatsRequest { most_accessed_limit: 5, ..Default::default() };
        client.get_cache_stats(listed).await.unwrap();
        client.cleanup_cache(CleanupCacheRequest { limit: 5 }).await.unwrap();
        client.warm_cache(WarmCacheRequest { most_accessed: 5, ..Default::default() }).await.unwrap();
    }
    let head = "SELECT position - (SELECT count(*) FROM invalidation_log) AS n FROM invalidation_log_head";
    let gaps: i64 = sources.database.rows(head).await[0].try_get("", "n").unwrap();
    assert_eq!(gaps, 0, "each position of the log is a row");
}

#[tokio::test]
async fn instances_behind_pgbouncer_in_transaction_mode_lose_no_request() {
    // Fewer than one instance opens.
    instances_serve(TRANSACTION, 12).await;
}

#[tokio::test]
async fn instances_behind_pgbouncer_in_session_mode_lose_no_request() {
    // Each connection of an instance keeps one of the server.
    instances_serve("pool_mode = session", 80).await;
}

#[tokio::test]
async fn sources_behind_pgbouncer_are_read_and_their_changes_relayed() {
    let (of_sources, _pooler, url) = behind(&[TRANSACTION, "default_pool_size = 4"]).await;
    let cache = database(Kind::Postgres).await;
    migrate_cache(&cache.url).await;
    let sources = sources_in(of_sources).await;
    sources.add_user("1", &[11]).await;
    changes::install(&sources.db).await.unwrap();
    let settings = Settings::on(&cache.url).with("sources.database_url", &url).with("sources.pooler", "transaction");
    let settings = settings.with("sources.relay_database_url", &url).with("sources.change_feed", true);
    let server = serve(settings).await;
    let client = server.client().await;
    for count in 0..3 {
        sources.write(11, count).await;
        is_verified(&client, count).await;
    }
}

#[tokio::test]
async fn keys_of_users_behind_pgbouncer_are_made_read_and_wrapped_again() {
    let (keys, _pooler, url) = behind(&[TRANSACTION]).await;
    up(&keys.connect().await, Tables::Keys).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let masters = folder.path().join("masters");
    let (first, second) = (new_master_key("first").unwrap(), new_master_key("second").unwrap());
    std::fs::write(&masters, &*first).unwrap();
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let settings = cluster.settings().with("privacy.encrypt", true).with("privacy.keys_url", &url);
    let settings = settings.with("privacy.pooler", "transaction").with("privacy.master_key_file", masters.display());
    let writes = serve(settings.clone()).await;
    get(&writes.client().await, of("1")).await.unwrap();
    cluster.has_stored(1).await;
    let reads = serve(settings).await;
    assert_eq!(get(&reads.client().await, of("1")).await.unwrap().status, CacheStatus::HitDatabase);

    std::fs::write(&masters, format!("{}\n{}", &*second, &*first)).unwrap();
    let masters = masters.display().to_string();
    let environment = [
        ("USERDATA__DATABASE__URL", cluster.database().url.as_str()),
        ("USERDATA__PRIVACY__KEYS_URL", url.as_str()),
        ("USERDATA__PRIVACY__POOLER", "transaction"),
        ("USERDATA__PRIVACY__MASTER_KEY_FILE", masters.as_str()),
    ];
    let ran = userdata_with(&["keys", "rotate"], &environment).await;
    assert_eq!(ran.exit_code, 0, "{ran:?}");
}
