//! What a statement through PgBouncer sees and leaves behind.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseBackend, Statement, TransactionTrait, Value};
use userdata::{
    config::Pooler,
    database::{Access, Options, Pool},
};

use testkit::database::TestDatabase;

use super::{TRANSACTION, behind};

const ALL: [Access; 4] = [Access::ReadWrite, Access::Log, Access::ReadOnly, Access::Outbox];

async fn pool(url: &str, access: Access) -> Pool {
    let options = Options {
        access,
        application_name: "userdata-pooler".to_owned(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(20),
        // Of each a different one.
        statement_timeout: Duration::from_secs(30 + access as u64),
        pooler: Pooler::Transaction,
    };
    Pool::open(url, &options).await.unwrap()
}

/// All pools share one connection of the server.
async fn shared() -> (TestDatabase, testkit::pgbouncer::PgBouncer, String) {
    behind(&[TRANSACTION, "default_pool_size = 1"]).await
}

async fn text(db: &impl ConnectionTrait, sql: &str) -> String {
    let row = db.query_one_raw(Statement::from_string(DatabaseBackend::Postgres, sql)).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

const SETTINGS: &str = "SELECT concat_ws(' ', current_setting('transaction_read_only'), \
     current_setting('synchronous_commit'), current_setting('statement_timeout'), \
     current_setting('idle_in_transaction_session_timeout'), current_setting('client_min_messages'))";

fn expected(access: Access) -> &'static str {
    match access {
        Access::ReadWrite => "off local 30s 20s warning",
        Access::Log => "off on 31s 20s warning",
        Access::ReadOnly => "on on 32s 0 warning",
        Access::Outbox => "off on 33s 20s warning",
    }
}

#[tokio::test]
async fn each_statement_sees_the_settings_of_its_own_pool() {
    let (database, _pooler, url) = shared().await;
    for round in 0..2 {
        for access in ALL {
            let pool = pool(&url, access).await;
            assert_eq!(text(&pool, SETTINGS).await, expected(access), "{access:?}, alone");
            let transaction = pool.begin().await.unwrap();
            assert_eq!(text(&transaction, SETTINGS).await, expected(access), "{access:?}, in a transaction");
            transaction.begin_again().await.unwrap();
            assert_eq!(text(&transaction, SETTINGS).await, expected(access), "{access:?}, begun again");
            transaction.commit().await.unwrap();
            let writes = pool.execute_unprepared(&format!("CREATE TABLE of_{round}_{} ()", access as u8)).await;
            assert_eq!(writes.is_ok(), access != Access::ReadOnly, "{access:?}: {writes:?}");
        }
    }
    let defaults = database.rows(&format!("{SETTINGS} AS settings")).await;
    assert_eq!(defaults.len(), 1);
}

#[tokio::test]
async fn values_arrive_as_they_were_sent() {
    let (_database, _pooler, url) = shared().await;
    let pool = pool(&url, Access::ReadWrite).await;
    let texts = ["", "it's \"$1\" \\ -- /* ; DROP TABLE t", "ünï\u{1f980}\n\t", "\\'; SELECT 1"];
    let (bytes, time) = (vec![0_u8, 39, 92, 255], chrono::DateTime::UNIX_EPOCH.naive_utc());
    for text in texts {
        let values: [Value; 9] = [
            text.into(),
            bytes.clone().into(),
            i64::MIN.into(),
            (-7_i32).into(),
            0.1_f64.into(),
            true.into(),
            time.into(),
            Value::String(None),
            Value::BigInt(None),
        ];
        let sql = "SELECT $1 AS text, $2 AS bytes, $3 AS big, $4 AS int, $5 AS double, $6 AS bool, $7 AS time, \
                   $8 AS no_text, $9 AS no_big";
        let asked = Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, values);
        let alone = pool.query_one_raw(asked.clone()).await;
        let transaction = pool.begin().await.unwrap();
        for row in [alone, transaction.query_one_raw(asked).await] {
            let row = row.unwrap().unwrap();
            assert_eq!(row.try_get::<String>("", "text").unwrap(), text);
            assert_eq!(row.try_get::<Vec<u8>>("", "bytes").unwrap(), bytes);
            assert_eq!(row.try_get::<i64>("", "big").unwrap(), i64::MIN);
            assert_eq!(row.try_get::<i32>("", "int").unwrap(), -7);
            assert_eq!(row.try_get::<f64>("", "double").unwrap().to_bits(), 0.1_f64.to_bits());
            assert!(row.try_get::<bool>("", "bool").unwrap());
            assert_eq!(row.try_get::<chrono::NaiveDateTime>("", "time").unwrap(), time);
            assert_eq!(row.try_get::<Option<String>>("", "no_text").unwrap(), None);
            assert_eq!(row.try_get::<Option<i64>>("", "no_big").unwrap(), None);
        }
    }
    let nul = Statement::from_sql_and_values(DatabaseBackend::Postgres, "SELECT $1", ["a\0b".into()]);
    pool.query_one_raw(nul).await.unwrap_err();
    assert_eq!(text(&pool, "SELECT 'goes on'").await, "goes on");
}

#[tokio::test]
async fn what_is_not_committed_is_gone() {
    let (database, _pooler, url) = shared().await;
    database.execute("CREATE TABLE t (a INT)").await;
    let pool = pool(&url, Access::ReadWrite).await;
    let insert =
        |a: i32| Statement::from_sql_and_values(DatabaseBackend::Postgres, "INSERT INTO t VALUES ($1)", [a.into()]);

    let dropped = pool.begin().await.unwrap();
    dropped.execute_raw(insert(1)).await.unwrap();
    drop(dropped);

    let kept = pool.begin().await.unwrap();
    kept.execute_raw(insert(2)).await.unwrap();
    let savepoint = kept.begin().await.unwrap();
    savepoint.execute_unprepared("SELECT 1 / 0").await.unwrap_err();
    savepoint.rollback().await.unwrap();
    let savepoint = kept.begin().await.unwrap();
    savepoint.execute_raw(insert(3)).await.unwrap();
    savepoint.commit().await.unwrap();
    kept.commit().await.unwrap();

    let broken = pool.begin().await.unwrap();
    broken.execute_raw(insert(4)).await.unwrap();
    drop(broken.begin().await.unwrap());
    broken.execute_raw(insert(5)).await.expect_err("a savepoint is open");
    broken.commit().await.expect_err("a savepoint is open");

    // A statement alone is whole or not at all.
    let both = "INSERT INTO t VALUES (6); INSERT INTO t SELECT 1 / 0";
    pool.execute_unprepared(both).await.unwrap_err();

    let there = text(&pool, "SELECT string_agg(CAST(a AS TEXT), ' ' ORDER BY a) FROM t").await;
    assert_eq!(there, "2 3");
}

#[tokio::test]
async fn a_statement_that_its_caller_has_left_spoils_no_other() {
    let (_database, _pooler, url) = shared().await;
    let pool = pool(&url, Access::ReadOnly).await;
    for millis in 0..20 {
        let begun = tokio::time::timeout(Duration::from_millis(millis / 4), async {
            let transaction = pool.begin().await?;
            transaction.execute_unprepared("SELECT pg_sleep(0.05)").await?;
            transaction.commit().await
        });
        let _left = begun.await;
        assert_eq!(text(&pool, SETTINGS).await, expected(Access::ReadOnly));
        assert_eq!(text(&pool, "SELECT CAST(now() = statement_timestamp() AS TEXT)").await, "true");
    }
}
