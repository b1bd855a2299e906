//! Opens pools of connections to PostgreSQL: the options of a connection, and its check when it returns to the pool.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{
    DatabaseConnection, DbErr,
    sqlx::{
        self, ConnectOptions as _, Connection, Row as _,
        postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
    },
};
use tokio::time::Instant;

use super::{Access, IDLE_TIMEOUT, LIFETIME_MAX, Options, connection_error};

/// The wait for a connection whose statement's caller has left: longer than the cache's database takes to cancel such
/// a statement, and short enough for the pool to spare the connection.
pub(super) const ABANDONED_MAX: Duration = Duration::from_millis(500);

/// PostgreSQL (14 and later) checks so often that a statement's client is still connected. Until then, or until the
/// statement's timeout, an abandoned statement runs on.
const WATCH_CLIENT: &str = "SET client_connection_check_interval = '500ms'";

/// When a connection of a pool was last opened, returned or closed.
#[derive(Debug)]
pub(super) struct Pulse {
    opened: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { opened: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Pulse {
    fn record(&self) {
        self.last.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    pub(super) fn silent_for(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A database and its connection options.
#[derive(Debug)]
pub(super) struct Postgres {
    server: PgConnectOptions,
    options: Options,
}

impl Postgres {
    /// The error for an invalid `url` does not show it, because it may hold a password.
    pub(super) fn new(url: &str, options: &Options) -> Result<Self, DbErr> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(DbErr::Custom("a database URL begins with sqlite:// or postgres://".to_owned()));
        }
        let server = PgConnectOptions::from_str(url).map_err(connection_error)?;
        // The callers measure statements; the statements' texts would only repeat the source.
        let server = session(server.disable_statement_logging(), options);
        Ok(Self { server, options: options.clone() })
    }

    /// Opens a connection and closes it, within the time for getting one.
    pub(super) async fn try_once(&self) -> Result<(), DbErr> {
        let opened = self.server.connect();
        let connection = tokio::time::timeout(self.options.acquire_timeout, opened).await.unwrap_or_else(|_| {
            let waited = self.options.acquire_timeout;
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {waited:?}")).into())
        });
        connection.map_err(connection_error)?.close().await.map_err(connection_error)
    }

    /// Opens the first connection at once.
    pub(super) async fn open(&self) -> Result<DatabaseConnection, DbErr> {
        let pool = self.pool(&Arc::default()).connect_with(self.server.clone()).await;
        pool.map(DatabaseConnection::from).map_err(connection_error)
    }

    /// Opens connections when they are needed, and records in `pulse` when they open, return and close.
    pub(super) fn open_lazily(&self, pulse: &Arc<Pulse>) -> DatabaseConnection {
        self.pool(pulse).connect_lazy_with(self.server.clone()).into()
    }

    /// A statement whose caller has left may run on, on a silent network for ever. sqlx waits for its end without a time
    /// limit before it uses the connection again, so as many such statements as connections would block the pool.
    fn pool(&self, pulse: &Arc<Pulse>) -> PgPoolOptions {
        let (opened, taken, returned) = (Arc::clone(pulse), Arc::clone(pulse), Arc::clone(pulse));
        // After it there is time left to open another one.
        let ping_max = (self.options.acquire_timeout / 2).min(ABANDONED_MAX);
        PgPoolOptions::new()
            .max_connections(self.options.max_connections)
            .acquire_timeout(self.options.acquire_timeout)
            .idle_timeout(IDLE_TIMEOUT)
            .max_lifetime(LIFETIME_MAX)
            // sqlx's own test has no time limit: each connection that fell silent would use up a whole acquire timeout.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                opened.record();
                Box::pin(async move {
                    // An older server ends a statement at its timeout.
                    let _ = sqlx::Executor::execute(connection, WATCH_CLIENT).await;
                    Ok(())
                })
            })
            .before_acquire(move |connection, _| {
                taken.record();
                Box::pin(async move {
                    let answered = tokio::time::timeout(ping_max, connection.ping()).await;
                    answered.unwrap_or_else(|_elapsed| Err(silent()))?;
                    Ok(true)
                })
            })
            .after_release(move |connection, _| {
                let returned = Arc::clone(&returned);
                Box::pin(async move {
                    // sqlx pings too, right after this, but without a time limit.
                    let answered = tokio::time::timeout(ABANDONED_MAX, has_no_transaction(connection)).await;
                    returned.record();
                    // After an error sqlx closes the connection at once, without a message to the server.
                    answered.unwrap_or_else(|_elapsed| Err(silent()))
                })
            })
    }
}

fn silent() -> sqlx::Error {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// Whether no transaction is open. sqlx counts one only after the server's answer, so a BEGIN whose caller has left
/// would stay open, and everything later on the connection would belong to it. Within a transaction `now()` is when it
/// began.
async fn has_no_transaction(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = sqlx::Executor::fetch_one(connection, "SELECT now() = statement_timestamp()").await?;
    row.try_get(0)
}

fn session(postgres: PgConnectOptions, options: &Options) -> PgConnectOptions {
    let postgres = postgres
        .application_name(&options.application_name)
        .options([("statement_timeout", format!("{}ms", options.statement_timeout.as_millis()))])
        // "already exists, skipping" is for people at a prompt; here it would be logged.
        .options([("client_min_messages", "warning")]);
    let commits_wait = match options.access {
        // A standby that hangs must not delay a load. A purge waits for it all the same: `Pool::begin_durable`.
        Access::ReadWrite => "local",
        // A server or a role may have it off, and an acknowledged invalidation must not be lost.
        Access::Log | Access::Outbox => "on",
        Access::ReadOnly => return postgres.options([("default_transaction_read_only", "on")]),
    };
    postgres.options([
        ("synchronous_commit", commits_wait.to_owned()),
        // A transaction whose client has vanished holds its locks until the server notices, by default after two hours.
        // A lock on the invalidation log's head would block every instance's commits. The limit is shorter than a
        // statement's, so that a statement that waits for such a lock still gets it.
        ("idle_in_transaction_session_timeout", format!("{}ms", options.acquire_timeout.as_millis())),
    ])
}
