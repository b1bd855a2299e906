//! Opening a database: every option that matters is stated here, none is left to a library's default.
//!
//! There are two kinds of pool. The cache's may write. The sources' may not, and the database itself
//! is told so: a mistake of ours in somebody else's tables is an error, never a change.

mod reach;
mod refusal;

use std::{path::Path, str::FromStr, time::Duration};

use sea_orm::{
    ConnectOptions, Database, DatabaseBackend, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{
        self, ConnectOptions as _, Connection, Postgres,
        pool::PoolOptions,
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};

pub use reach::Reach;
pub use refusal::unless_refused;

/// How long a statement waits for SQLite's one writer: as long as a request waits for its database.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// Entering WAL mode needs the file for itself, cannot wait for it, and takes milliseconds.
const SQLITE_WAL_ATTEMPTS: u32 = 100;
const SQLITE_WAL_PAUSE: Duration = Duration::from_millis(50);

/// Connections that nobody needs are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Connections are replaced after this, so that a database that moved gets its load back.
const LIFETIME_MAX: Duration = Duration::from_secs(1800);

/// How long a connection is waited for whose statement's caller has left. Longer than the cache's
/// database takes to end such a statement itself, and short enough not to be missed.
const ABANDONED_MAX: Duration = Duration::from_millis(500);

/// How often PostgreSQL (14 and later) looks whether a statement's connection is still there. Until
/// then, or its timeout, it goes on for nobody.
const WATCH_CLIENT: &str = "SET client_connection_check_interval = '500ms'";

/// What a pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The cache's tables.
    ReadWrite,
    /// Somebody else's tables.
    ReadOnly,
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
    /// For getting a connection, a new one included.
    pub acquire_timeout: Duration,
    /// After which PostgreSQL gives a statement up, should its caller have gone without telling.
    pub statement_timeout: Duration,
    /// Open the first connection when it is needed: the program starts while PostgreSQL is down.
    /// A SQLite file is opened at once in any case.
    pub lazy: bool,
}

/// Opens `sqlite://..` or `postgres://..`.
pub async fn connect(url: &str, options: &Options) -> Result<DatabaseConnection, DbErr> {
    let mut pool = ConnectOptions::new(url);
    pool.max_connections(options.max_connections)
        .min_connections(0)
        .acquire_timeout(options.acquire_timeout)
        .connect_timeout(options.acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(LIFETIME_MAX)
        // A connection that the database closed meanwhile is noticed before a request gets it.
        .test_before_acquire(true)
        // Statements are measured by whoever sends them; their texts would only repeat the source.
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    if url.starts_with("sqlite:") {
        prepare_file(url, options.access).await?;
        let access = options.access;
        pool.connect_lazy(false).map_sqlx_sqlite_opts(move |sqlite| sqlite_options(sqlite, access));
    } else {
        refuse_unreadable(url)?;
        let options = options.clone();
        pool.connect_lazy(options.lazy)
            .map_sqlx_postgres_opts(move |postgres| postgres_options(postgres, &options))
            .map_sqlx_postgres_pool_opts(postgres_pool_options);
    }
    Database::connect(pool).await
}

/// Before the library looks at it, whose message would carry the URL, and so the password.
fn refuse_unreadable(url: &str) -> Result<(), DbErr> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(DbErr::Custom("a database URL begins with sqlite:// or postgres://".to_owned()));
    }
    PgConnectOptions::from_str(url).map(drop).map_err(connection_error)
}

/// Whether this is the embedded database; PostgreSQL otherwise.
#[must_use]
pub fn is_sqlite(connection: &DatabaseConnection) -> bool {
    connection.get_database_backend() == DatabaseBackend::Sqlite
}

fn sqlite_options(sqlite: SqliteConnectOptions, access: Access) -> SqliteConnectOptions {
    let sqlite = sqlite
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        // The planning application's rows are taken as they are.
        .foreign_keys(false);
    match access {
        // In WAL mode NORMAL may lose commits with the power, and an acknowledged fence must not be lost.
        Access::ReadWrite => sqlite.synchronous(SqliteSynchronous::Full),
        Access::ReadOnly => sqlite.pragma("query_only", "ON"),
    }
}

fn postgres_options(postgres: PgConnectOptions, options: &Options) -> PgConnectOptions {
    let postgres = postgres
        .application_name(&options.application_name)
        .options([("statement_timeout", format!("{}ms", options.statement_timeout.as_millis()))])
        // "already exists, skipping" is for people at a prompt; here it would be logged.
        .options([("client_min_messages", "warning")]);
    match options.access {
        Access::ReadWrite => postgres.options([
            // A server or a role may have it off, and an acknowledged fence must not be lost.
            ("synchronous_commit", "on".to_owned()),
            // A transaction whose client is gone without a word holds its locks until the server notices, by
            // default after two hours; one on the fence log's head would keep every instance from its commits.
            // Shorter than a statement may take: who waits for such a lock still gets it.
            ("idle_in_transaction_session_timeout", format!("{}ms", options.acquire_timeout.as_millis())),
        ]),
        Access::ReadOnly => postgres.options([("default_transaction_read_only", "on")]),
    }
}

/// A statement whose caller has left may run on, and on a network that has swallowed it for ever. sqlx
/// waits for its end without limit before the connection can be used again, so that as many of them as
/// there are connections would block a pool for good.
fn postgres_pool_options(pool: PoolOptions<Postgres>) -> PoolOptions<Postgres> {
    pool.after_connect(|connection, _| {
        Box::pin(async move {
            // An older server ends a statement at its timeout.
            let _ = sqlx::Executor::execute(connection, WATCH_CLIENT).await;
            Ok(())
        })
    })
    .after_release(|connection, _| {
        Box::pin(async move {
            // sqlx pings too, right after this, but on a connection that carries nothing any more for ever.
            match tokio::time::timeout(ABANDONED_MAX, connection.ping()).await {
                Ok(answered) => answered.map(|()| true),
                // As an error it is closed at once, without a word to a server that may not hear it.
                Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
            }
        })
    })
}

/// How many connections a pool has at most.
#[must_use]
pub fn max_connections(connection: &DatabaseConnection) -> u32 {
    if is_sqlite(connection) {
        connection.get_sqlite_connection_pool().options().get_max_connections()
    } else {
        connection.get_postgres_connection_pool().options().get_max_connections()
    }
}

/// Creates the file's directory, and the file in WAL mode: then readers and the writer do not wait
/// for each other. Read-only pools take the file as it is.
async fn prepare_file(url: &str, access: Access) -> Result<(), DbErr> {
    let file = SqliteConnectOptions::from_str(url).map_err(connection_error)?;
    if access == Access::ReadOnly || url.contains(":memory:") {
        return Ok(());
    }
    if let Some(directory) = file.get_filename().parent().filter(|path| *path != Path::new("")) {
        std::fs::create_dir_all(directory)
            .map_err(|error| DbErr::Custom(format!("cannot create {}: {error}", directory.display())))?;
    }
    let file = file.busy_timeout(SQLITE_BUSY_TIMEOUT).journal_mode(SqliteJournalMode::Wal);
    let mut attempt = 1;
    loop {
        match file.connect().await {
            Ok(connection) => return connection.close().await.map_err(connection_error),
            Err(error) if is_locked(&error) && attempt < SQLITE_WAL_ATTEMPTS => attempt += 1,
            Err(error) => return Err(connection_error(error)),
        }
        tokio::time::sleep(SQLITE_WAL_PAUSE).await;
    }
}

/// Tries of a write that finds SQLite's only writer busy; each waits for [`SQLITE_BUSY_TIMEOUT`] already.
const BUSY_TRIES: u32 = 4;
/// Before the second try; doubled before each further one.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// Writes, and once more a few times while the failure is that somebody else is writing: as `busy` tells.
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

/// SQLITE_BUSY (5) or SQLITE_LOCKED (6), extended codes included: another connection is writing.
pub fn is_busy(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    matches!(sqlite_code(error), Some(5 | 6))
}

/// SQLITE_BUSY (5), extended codes included: another process opens or writes the file.
fn is_locked(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(5)
}

/// Its primary result code; none if it is no error of SQLite's.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    error.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};

    use super::*;

    fn options(access: Access) -> Options {
        Options {
            access,
            application_name: "test".to_owned(),
            max_connections: 2,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            lazy: false,
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
