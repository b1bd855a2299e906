//! The settings of a pool's connections, and whether they take effect.
//!
//! PostgreSQL takes settings with the startup message, which costs no round trip. A connection pooler such as PgBouncer
//! refuses them, or drops them; then no statement would have a time limit, and the sources' connections could write. So
//! each new connection is asked for what is in effect.

use std::fmt::Write as _;

use sea_orm::sqlx::{self, AssertSqlSafe, Executor, Row as _, postgres::PgConnection};

use super::{Access, Options};
use crate::config::Pooler;

/// PostgreSQL (14 and later) checks so often that a statement's client is still connected. Until then, or until the
/// statement's timeout, an abandoned statement runs on.
const WATCH_CLIENT: &str = "CASE WHEN CAST(current_setting('server_version_num') AS INT) >= 140000 \
    THEN set_config('client_connection_check_interval', '500ms', false) END";

/// Values are read as text through a pooler. A role or a database may have other forms as its defaults.
const FORMS: [(&str, &str); 4] =
    [("TimeZone", "UTC"), ("DateStyle", "ISO, MDY"), ("bytea_output", "hex"), ("extra_float_digits", "1")];

/// A connection pooler under which the settings of a connection do not take effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolerRefusal {
    /// It refuses the startup message.
    #[error("a connection pooler stands before the database and refuses the settings of a connection: {0}")]
    Startup(String),
    /// They are not in effect.
    #[error("a connection pooler stands before the database and drops the settings of a connection: {0}")]
    Dropped(String),
    /// It changes the server's connection within a transaction.
    #[error("a connection pooler stands before the database and does not keep a connection for a transaction: {0}")]
    Statements(String),
}

impl PoolerRefusal {
    /// Whether this error of the startup message comes from a pooler.
    pub(super) fn of_startup(error: &sqlx::Error) -> Option<Self> {
        let message = error.as_database_error()?.message();
        message.contains("unsupported startup parameter").then(|| Self::Startup(message.to_owned()))
    }

    /// PgBouncer in statement mode.
    fn of_begin(error: &sqlx::Error) -> Option<Self> {
        let message = error.as_database_error()?.message();
        message.contains("transaction blocks not allowed").then(|| Self::Statements(message.to_owned()))
    }

    /// What to do, if the pooler is configured by this setting.
    #[must_use]
    pub fn remedy(&self, setting: &str) -> String {
        match self {
            Self::Startup(_) | Self::Dropped(_) => {
                format!("set {setting} = \"transaction\", or name PostgreSQL itself in the URL")
            }
            Self::Statements(_) => "set pool_mode = transaction in the pooler".to_owned(),
        }
    }
}

/// The settings of a pool's connections.
#[derive(Debug)]
pub(super) struct SessionSettings {
    pooler: Pooler,
    values: Vec<(&'static str, String)>,
}

impl SessionSettings {
    pub(super) fn of(options: &Options) -> Self {
        let pooler = options.pooler;
        let mut values = vec![
            ("statement_timeout", format!("{}ms", options.statement_timeout.as_millis())),
            // "already exists, skipping" is for people at a prompt; here it would be logged.
            ("client_min_messages", "warning".to_owned()),
        ];
        let commits_wait = match options.access {
            // A standby that hangs must not delay a load. A purge waits for it all the same: `Pool::begin_durable`.
            Access::ReadWrite => Some("local"),
            // A server or a role may have it off, and an acknowledged invalidation must not be lost.
            Access::Log | Access::Outbox => Some("on"),
            Access::ReadOnly => None,
        };
        match (commits_wait, pooler) {
            (Some(commits_wait), _) => {
                values.push(("synchronous_commit", commits_wait.to_owned()));
                // A transaction whose client has vanished holds its locks until the server notices, by default after two
                // hours. A lock on the invalidation log's head would block every instance's commits. The limit is shorter
                // than a statement's, so that a statement that waits for such a lock still gets it.
                let idle_max = format!("{}ms", options.acquire_timeout.as_millis());
                values.push(("idle_in_transaction_session_timeout", idle_max));
            }
            (None, Pooler::None) => values.push(("default_transaction_read_only", "on".to_owned())),
            (None, Pooler::Transaction) => values.push(("transaction_read_only", "on".to_owned())),
        }
        if pooler == Pooler::Transaction {
            values.extend(FORMS.map(|(name, value)| (name, value.to_owned())));
        }
        Self { pooler, values }
    }

    pub(super) fn values(&self) -> &[(&'static str, String)] {
        &self.values
    }

    /// Statements that set them until the transaction ends.
    pub(super) fn of_transaction(&self) -> String {
        self.values.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = write!(text, "SET LOCAL {name} = '{value}'; ");
            text
        })
    }

    /// Whether a pooler keeps them from taking effect on this new connection.
    pub(super) async fn verify(&self, connection: &mut PgConnection) -> Result<Option<PoolerRefusal>, sqlx::Error> {
        let differing = match self.pooler {
            Pooler::None => {
                match self.differing(connection, &format!("SELECT {}, {WATCH_CLIENT}", self.differs())).await {
                    // Some systems cannot look after a client.
                    Err(sqlx::Error::Database(_)) => {
                        self.differing(connection, &format!("SELECT {}", self.differs())).await
                    }
                    asked => asked,
                }?
            }
            Pooler::Transaction => {
                // Two messages: a pooler that keeps a connection for one statement alone refuses the first one, or
                // sends the second one elsewhere.
                if let Err(error) = self.begin(connection).await {
                    return PoolerRefusal::of_begin(&error).map(Some).ok_or(error);
                }
                self.differing(connection, &format!("SELECT {}; ROLLBACK", self.differs())).await?
            }
        };
        Ok(match self.pooler {
            _ if differing.is_empty() => None,
            Pooler::None => Some(PoolerRefusal::Dropped(differing)),
            Pooler::Transaction => Some(PoolerRefusal::Statements(differing)),
        })
    }

    async fn begin(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        connection.execute(AssertSqlSafe(format!("BEGIN; {}", self.of_transaction()))).await.map(drop)
    }

    async fn differing(&self, connection: &mut PgConnection, sql: &str) -> Result<String, sqlx::Error> {
        connection.fetch_one(AssertSqlSafe(sql.to_owned())).await?.try_get(0)
    }

    /// An expression that names what is not in effect.
    fn differs(&self) -> String {
        let differs = self.values.iter().map(|(name, value)| {
            // The server says "16s" for 16000ms.
            let as_read = |text: String| if value.ends_with("ms") { format!("CAST({text} AS INTERVAL)") } else { text };
            let (found, wanted) = (as_read(format!("current_setting('{name}')")), as_read(format!("'{value}'")));
            format!(
                "CASE WHEN {found} <> {wanted} THEN '{name} is ' || current_setting('{name}') || ', not {value}' END"
            )
        });
        format!("concat_ws('; ', {})", differs.collect::<Vec<_>>().join(", "))
    }
}
