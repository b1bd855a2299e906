//! A synchronous standby that hangs: only what has to be on it waits for it.
//!
//! To PostgreSQL a standby that does not answer is one that does not exist: commits that need it wait in SyncRep.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tokio::time::timeout;
use userdata::{
    clock::Clock,
    config::Pooler,
    database::{Access, Options, Pool},
    proto::v1::{CacheStatus, InvalidateCacheRequest},
};

use testkit::{
    database::{Kind, demo_database, migrate_cache},
    postgres::{Postgres, own_postgres},
    server::{Settings, serve},
    sources::count,
    wait_for,
};

/// A commit that takes longer waits.
const WAITS: Duration = Duration::from_millis(700);
/// A commit that does not wait takes less, however busy the machine is.
const DOES_NOT_WAIT: Duration = Duration::from_secs(9);
/// A cold load that waits for no commit takes less: `database.timeout` is 5 s.
const COLD: Duration = Duration::from_secs(4);

async fn pool(postgres: &Postgres, access: Access) -> Pool {
    let options = Options {
        access,
        application_name: "userdata-standby".to_owned(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        pooler: Pooler::None,
    };
    Pool::open(&postgres.url("postgres"), &options).await.unwrap()
}

async fn wait_for_a_standby(admin: &DatabaseConnection, name: &str) {
    admin.execute_unprepared(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).await.unwrap();
    admin.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
    let set =
        format!("SELECT COUNT(*) FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = '{name}'");
    wait_for("the setting", async || (count(admin, &set).await == 1).then_some(())).await;
}

#[tokio::test]
async fn the_logs_commits_and_a_purge_wait_for_the_standby_and_nothing_else_does() {
    let postgres = own_postgres().await;
    let admin = postgres.administer().await;
    admin.execute_unprepared("CREATE TABLE t (a INTEGER)").await.unwrap();
    let (cache, log) = (pool(&postgres, Access::ReadWrite).await, pool(&postgres, Access::Log).await);
    wait_for_a_standby(&admin, "absent").await;
    let insert = "INSERT INTO t VALUES (1)";
    timeout(DOES_NOT_WAIT, cache.execute_unprepared(insert)).await.expect("it does not wait").unwrap();
    let transaction = cache.begin().await.unwrap();
    transaction.execute_unprepared(insert).await.unwrap();
    timeout(DOES_NOT_WAIT, transaction.commit()).await.expect("it does not wait").unwrap();

    timeout(WAITS, log.execute_unprepared(insert)).await.expect_err("it waits");
    let durable = cache.begin_durable().await.unwrap();
    durable.execute_unprepared(insert).await.unwrap();
    timeout(WAITS, durable.commit()).await.expect_err("it waits");
    timeout(DOES_NOT_WAIT, cache.execute_unprepared(insert))
        .await
        .expect("the setting ends with its transaction")
        .unwrap();
}

#[tokio::test]
async fn a_standby_that_hangs_delays_no_load_and_lets_no_invalidation_be_acknowledged() {
    let (postgres, sources) = (own_postgres().await, demo_database(Kind::Postgres).await);
    let url = postgres.url("postgres");
    migrate_cache(&url).await;
    let settings = Settings::on(&url).with("sources.database_url", &sources.url).with("memory.ttl", "1ms");
    let (here, there) = (serve(settings.clone()).await, serve(settings).await);
    let (caller, other) = (here.caller().await, there.caller().await);
    caller.get("1").await;
    let admin = postgres.administer().await;
    wait_for_a_standby(&admin, "absent").await;
    for user in 2..=9 {
        let user = user.to_string();
        let began = Clock::system().now();
        let cold = caller.get(&user).await;
        assert_eq!((cold.status(), cold.info.verified), (CacheStatus::Assembled, true), "{user}");
        assert!(Clock::system().now().since(began) < COLD, "{user}");
        // It is stored, and its lease is given back.
        other.until(&user, CacheStatus::HitDatabase).await;
        assert!(Clock::system().now().since(began) < COLD, "{user}");
    }
    let client = here.client().await;
    let invalidate = async || {
        let request = InvalidateCacheRequest { user_id: "1".to_owned(), ..Default::default() };
        client.clone().invalidate_cache(request).await
    };
    invalidate().await.expect_err("it is not on the standby");
    wait_for_a_standby(&admin, "").await;
    wait_for("an invalidation", async || invalidate().await.ok()).await;
}
