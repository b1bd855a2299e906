//! Opens a database. Every option that matters is stated here; none is left to a library's default.
//!
//! There are two kinds of pool. The cache's may write. The sources' are read-only, which the database itself enforces: a
//! mistake in the planning application's tables is an error, never a change.

mod dialect;
mod file;
#[cfg(feature = "shuttle")]
pub mod in_memory;
mod literal;
mod occupancy;
mod pool;
mod pooler;
mod postgres;
mod reach;
mod refusal;
mod replica;
mod settings;
mod transaction;

use std::time::Duration;

use postgres::Postgres;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{
        self, Connection,
        sqlite::{SqliteConnectOptions, SqliteSynchronous},
    },
};

pub(crate) use dialect::SIX_DECIMALS;
pub use dialect::{Dialect, SqlFile, parameter, read_time};
pub use file::{create_for_owner_alone, file_of};
pub use occupancy::observe;
pub use pool::Pool;
pub use reach::Reach;
pub use refusal::unless_refused;
pub(crate) use replica::{ReadServer, Written};
pub use settings::PoolerRefusal;
pub use transaction::Transaction;

use crate::config::Pooler;

/// A statement on the cache's file waits so long for SQLite's one writer: as long as a request waits for its database.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// To so many bytes the write-ahead log shrinks after a long reader has let it grow.
const SQLITE_JOURNAL_MAX: u32 = 16 << 20;

/// Idle connections are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Connections are replaced after this, so that load returns to a database that moved.
const LIFETIME_MAX: Duration = Duration::from_secs(1800);

/// What a pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The cache's tables. A commit does not wait for PostgreSQL's standby: what a failover loses is loaded again.
    ReadWrite,
    /// The invalidation log. A commit is on the disk, and on the synchronous standby if there is one.
    Log,
    /// The planning application's tables.
    ReadOnly,
    /// The outbox and the triggers beside the planning application's tables. A file is not created, and keeps its journal
    /// mode: it is the application's.
    Outbox,
}

/// A pool's size and limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is for.
    pub access: Access,
    /// What PostgreSQL shows in `pg_stat_activity`.
    pub application_name: String,
    /// Connections at most. On SQLite each has a thread.
    pub max_connections: u32,
    /// To get a connection, including the time to open a new one.
    pub acquire_timeout: Duration,
    /// PostgreSQL cancels a statement after this, also one whose caller has left silently.
    pub statement_timeout: Duration,
    /// What stands before PostgreSQL.
    pub pooler: Pooler,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Pooler(#[from] PoolerRefusal),
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Opens `sqlite://..`, or `postgres://..` without a connection pooler, with a first connection at once.
pub async fn connect(url: &str, options: &Options) -> Result<DatabaseConnection, DbErr> {
    if !Dialect::of_url(url).is_sqlite() {
        return Postgres::new(url, options)?.open().await;
    }
    file::prepare(url, options.access).await?;
    let (access, statement_timeout) = (options.access, options.statement_timeout);
    let mut pool = ConnectOptions::new(url);
    pool.map_sqlx_sqlite_pool_opts(|pool| {
        // After some errors (no room, I/O) SQLite ends the transaction by itself. sqlx does not see it: on that connection
        // each later commit would release a savepoint, store nothing, and keep the lock.
        pool.after_release(|connection, _| {
            Box::pin(async move {
                // A rollback may be queued; the ping comes after it.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
    });
    pool.max_connections(options.max_connections)
        .min_connections(0)
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(LIFETIME_MAX)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| sqlite_options(sqlite, access, statement_timeout));
    Database::connect(pool).await
}

fn sqlite_options(sqlite: SqliteConnectOptions, access: Access, statement_timeout: Duration) -> SqliteConnectOptions {
    // The planning application's rows are taken as they are.
    let sqlite = sqlite.foreign_keys(false).busy_timeout(match access {
        Access::ReadWrite | Access::Log => SQLITE_BUSY_TIMEOUT,
        // In rollback mode a reader waits for the application's writer, who may take long.
        Access::ReadOnly | Access::Outbox => statement_timeout,
    });
    if access == Access::ReadOnly {
        return sqlite.pragma("query_only", "ON");
    }
    sqlite
        // In WAL mode NORMAL may lose commits with the power, and an acknowledged invalidation must not be lost.
        .synchronous(SqliteSynchronous::Full)
        // What is deleted is gone from the file's free pages, too.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", SQLITE_JOURNAL_MAX.to_string())
}

/// Tries of a write while another connection writes to SQLite. Each try waits for [`SQLITE_BUSY_TIMEOUT`].
const BUSY_TRIES: u32 = 4;
/// Before the second try; doubled before each further one.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// Writes, and tries again a few times while `busy` says that another connection is writing.
pub async fn repeat_while<T, E, F>(busy: impl Fn(&E) -> bool, mut write: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let (mut tries, mut pause) = (1, BUSY_PAUSE);
    loop {
        match write().await {
            Err(error) if tries < BUSY_TRIES && busy(&error) => tokio::time::sleep(pause).await,
            done => return done,
        }
        tries += 1;
        pause *= 2;
    }
}

/// Moves everything from SQLite's write-ahead log into the file, and empties the log: it holds what was deleted or replaced
/// since. False while a reader needs it. Nothing to do on PostgreSQL.
pub async fn empty_journal(pool: &Pool) -> Result<bool, DbErr> {
    if !Dialect::of(pool).is_sqlite() {
        return Ok(true);
    }
    let checkpoint = Dialect::Sqlite.statement("PRAGMA wal_checkpoint(TRUNCATE)", []);
    let row = pool.query_one_raw(checkpoint).await?;
    let busy = row.map(|row| row.try_get_by_index::<i32>(0)).transpose()?;
    Ok(busy.is_none_or(|busy| busy == 0))
}

/// SQLITE_BUSY (5) or SQLITE_LOCKED (6), extended codes included: another connection is writing.
pub fn is_busy(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    matches!(sqlite_code(error), Some(5 | 6))
}

/// Whether a statement failed because a table or column is not there, or has another type than the statement expects.
pub fn is_schema_change(error: &DbErr) -> bool {
    /// undefined_table, undefined_column, undefined_function, datatype_mismatch, cannot_coerce, feature_not_supported
    /// (a prepared statement whose result has changed).
    const POSTGRES: [&str; 6] = ["42P01", "42703", "42883", "42804", "42846", "0A000"];
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    let Some(error) = error.as_database_error() else { return false };
    let message = error.message();
    match sqlite_code_of(error) {
        Some(_) => message.starts_with("no such table") || message.starts_with("no such column"),
        None => error.code().is_some_and(|code| POSTGRES.contains(&code.as_ref())),
    }
}

/// The primary result code. None if the error is not SQLite's.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    sqlite_code_of(error.as_database_error()?)
}

fn sqlite_code_of(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    error.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

#[cfg(test)]
mod tests {
    use sea_orm::{DatabaseBackend, Statement, TransactionTrait};

    use super::*;

    fn options(access: Access) -> Options {
        Options {
            access,
            application_name: "test".to_owned(),
            max_connections: 2,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            pooler: Pooler::None,
        }
    }

    async fn pragma(db: &DatabaseConnection, name: &str) -> String {
        let statement = Statement::from_string(
            DatabaseBackend::Sqlite,
            format!("SELECT CAST({name} AS TEXT) AS v FROM pragma_{name}"),
        );
        db.query_one_raw(statement).await.unwrap().unwrap().try_get("", "v").unwrap()
    }

    #[tokio::test]
    async fn a_sqlite_file_is_created_and_opened_as_stated() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a/b/c.db?mode=rwc", directory.path().display());
        let db = connect(&url, &options(Access::ReadWrite)).await.unwrap();
        for (name, expected) in [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "0")] {
            assert_eq!(pragma(&db, name).await, expected, "{name}");
        }
        let timeout = Statement::from_string(DatabaseBackend::Sqlite, "SELECT timeout FROM pragma_busy_timeout");
        let milliseconds: i32 = db.query_one_raw(timeout).await.unwrap().unwrap().try_get("", "timeout").unwrap();
        assert_eq!(milliseconds, 200);
    }

    #[tokio::test]
    async fn a_read_only_pool_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/c.db?mode=rwc", directory.path().display());
        let writable = connect(&url, &options(Access::ReadWrite)).await.unwrap();
        writable.execute_unprepared("CREATE TABLE t (a INTEGER)").await.unwrap();
        let read_only = connect(&url, &options(Access::ReadOnly)).await.unwrap();
        assert!(read_only.execute_unprepared("INSERT INTO t VALUES (1)").await.is_err());
        read_only.execute_unprepared("SELECT a FROM t").await.unwrap();
    }

    /// A small file system of its own, unmounted when dropped. None without the right to mount one.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount(size: &str) -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let mut mount = std::process::Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(directory.path());
            mount.output().is_ok_and(|output| output.status.success()).then_some(Self(directory))
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).output();
        }
    }

    #[tokio::test]
    async fn a_commit_that_succeeds_after_the_disk_was_full_is_durable_and_gives_its_lock_back() {
        // Without the right to mount one, there is nothing to test on.
        let Some(disk) = SmallDisk::mount("2m") else { return };
        let url = format!("sqlite://{}/c.db?mode=rwc", disk.0.path().display());
        let one = Options { max_connections: 1, ..options(Access::ReadWrite) };
        let (pool, other) = (connect(&url, &one).await.unwrap(), connect(&url, &one).await.unwrap());
        pool.execute_unprepared("CREATE TABLE t (a)").await.unwrap();
        let fill = disk.0.path().join("fill");
        let insert = async || {
            let transaction = pool.begin().await?;
            transaction.execute_unprepared("INSERT INTO t VALUES (zeroblob(20000))").await?;
            transaction.commit().await
        };
        let mut acknowledged = 0;
        for _ in 0..3 {
            drop(std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&fill).unwrap()));
            for _ in 0..4 {
                acknowledged += i64::from(insert().await.is_ok());
            }
            std::fs::remove_file(&fill).unwrap();
            insert().await.expect("there is room again");
            acknowledged += 1;
            let count = Statement::from_string(DatabaseBackend::Sqlite, "SELECT COUNT(*) FROM t");
            let rows: i64 = other.query_one_raw(count).await.unwrap().unwrap().try_get_by_index(0).unwrap();
            assert_eq!(rows, acknowledged, "another connection sees what was acknowledged");
            other.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await.expect("the lock is given back");
        }
    }

    #[tokio::test]
    async fn the_write_ahead_log_shrinks_after_a_long_reader_and_is_emptied_on_demand() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/c.db?mode=rwc", directory.path().display());
        let pool = Pool::from(connect(&url, &options(Access::ReadWrite)).await.unwrap());
        pool.execute_unprepared("CREATE TABLE t (a)").await.unwrap();
        let log_bytes = || std::fs::metadata(directory.path().join("c.db-wal")).unwrap().len();
        let write = async |bytes: u32| {
            pool.execute_unprepared(&format!("INSERT INTO t VALUES (zeroblob({bytes}))")).await.unwrap();
        };
        let reader = pool.begin().await.unwrap();
        reader.execute_unprepared("SELECT COUNT(*) FROM t").await.unwrap();
        for _ in 0..3 {
            write(SQLITE_JOURNAL_MAX / 2).await;
        }
        assert!(log_bytes() > u64::from(SQLITE_JOURNAL_MAX));
        assert!(!empty_journal(&pool).await.unwrap(), "the reader needs it");
        reader.rollback().await.unwrap();
        for _ in 0..3 {
            write(1).await;
        }
        assert!(log_bytes() <= u64::from(SQLITE_JOURNAL_MAX), "{}", log_bytes());
        assert!(empty_journal(&pool).await.unwrap());
        assert_eq!(log_bytes(), 0);
    }

    #[tokio::test]
    async fn a_new_file_can_be_opened_by_many_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/c.db?mode=rwc", directory.path().display());
        let options = options(Access::ReadWrite);
        let opened = futures::future::join_all((0..8).map(|_| connect(&url, &options))).await;
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    }

    #[tokio::test]
    async fn a_refused_url_does_not_show_its_password() {
        for url in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:port/d", "hunter2"] {
            let error = connect(url, &options(Access::ReadWrite)).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
