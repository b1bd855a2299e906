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
    DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{
        self, ConnectOptions as _, Connection, Row as _,
        postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
    },
};
use tokio::time::Instant;

use super::{
    ConnectError, IDLE_TIMEOUT, LIFETIME_MAX, Options, connection_error,
    pooler::Pooled,
    settings::{PoolerRefusal, SessionSettings},
};
use crate::{config::Pooler, sync::Mutex};

/// The wait for a connection whose statement's caller has left: longer than the cache's database takes to cancel such
/// a statement, and short enough for the pool to spare the connection.
pub(super) const ABANDONED_MAX: Duration = Duration::from_millis(500);

/// Between two errors about a connection pooler.
const WARN_EVERY: Duration = Duration::from_secs(60);

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
    settings: Arc<SessionSettings>,
    refused: Arc<NewestRefusal>,
}

/// Why the newest connection is not used, if a connection pooler is why.
#[derive(Debug, Default)]
struct NewestRefusal(Mutex<(Option<PoolerRefusal>, Option<Instant>)>);

impl NewestRefusal {
    fn now(&self) -> Option<PoolerRefusal> {
        self.0.lock().0.clone()
    }

    fn clear(&self) {
        self.0.lock().0 = None;
    }

    fn record(&self, refusal: PoolerRefusal) {
        let (newest, warned_at) = &mut *self.0.lock();
        if warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARN_EVERY) {
            *warned_at = Some(Instant::now());
            let remedy = refusal.remedy("the database's `pooler`");
            tracing::error!(%refusal, remedy, "database connections are not used");
        }
        *newest = Some(refusal);
    }
}

impl Postgres {
    /// The error for an invalid `url` does not show it, because it may hold a password.
    pub(super) fn new(url: &str, options: &Options) -> Result<Self, DbErr> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(DbErr::Custom("a database URL begins with sqlite:// or postgres://".to_owned()));
        }
        let server = PgConnectOptions::from_str(url).map_err(connection_error)?;
        // The callers measure statements; the statements' texts would only repeat the source.
        let server = server.disable_statement_logging().application_name(&options.application_name);
        let settings = SessionSettings::of(options);
        let server = match options.pooler {
            Pooler::None => server.options(settings.values().iter().cloned()),
            // sqlx sends it by itself, and a pooler refuses it.
            Pooler::Transaction => server.extra_float_digits(None),
        };
        Ok(Self { server, options: options.clone(), settings: Arc::new(settings), refused: Arc::default() })
    }

    /// How statements travel, if a connection pooler stands between.
    pub(super) fn pooled(&self) -> Option<Arc<Pooled>> {
        (self.options.pooler == Pooler::Transaction).then(|| Arc::new(Pooled::new(&self.settings)))
    }

    /// Opens a connection and closes it, within the time for getting one.
    pub(super) async fn try_once(&self) -> Result<(), ConnectError> {
        let opened = async {
            let mut connection = self.server.connect().await?;
            let refusal = self.settings.verify(&mut connection).await?;
            connection.close().await?;
            Ok(refusal)
        };
        let waited = self.options.acquire_timeout;
        let opened = tokio::time::timeout(waited, opened).await.unwrap_or_else(|_elapsed| {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {waited:?}")).into())
        });
        match opened {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(refusal.into()),
            Err(error) => Err(match PoolerRefusal::of_startup(&error) {
                Some(refusal) => refusal.into(),
                None => connection_error(error).into(),
            }),
        }
    }

    /// The pooler's part in this failure to get a connection.
    pub(super) fn refusal(&self, error: &DbErr) -> Option<PoolerRefusal> {
        match error {
            DbErr::Conn(RuntimeErr::SqlxError(error)) => PoolerRefusal::of_startup(error),
            _ => self.refused.now(),
        }
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
        let (settings, refused) = (Arc::clone(&self.settings), Arc::clone(&self.refused));
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
                let (settings, refused) = (Arc::clone(&settings), Arc::clone(&refused));
                Box::pin(async move {
                    match settings.verify(connection).await? {
                        None => refused.clear(),
                        Some(refusal) => {
                            refused.record(refusal);
                            // After an error sqlx would open the next one at once, until the time for getting one is over.
                            std::future::pending::<()>().await;
                        }
                    }
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
