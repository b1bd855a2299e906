//! A pool of connections that is replaced when the network has swallowed them.
//!
//! sqlx pings a returned connection, without a time limit, and keeps its permit meanwhile. If the network falls silent
//! at that moment, the permit is lost until TCP gives the connection up, which may never happen. Statements always end
//! in time: a single one by the limit here, those of a transaction by their callers' limits. So if all permits are taken,
//! and no connection was opened, returned or closed for longer than any statement lasts, the connections are lost: a new
//! pool replaces this one.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr, ExecResult,
    IsolationLevel, QueryResult, Statement, TransactionError, TransactionOptions, TransactionTrait,
};

use super::{
    Dialect, Options, connect,
    postgres::{ABANDONED_MAX, Postgres, Pulse},
};

use crate::sync::{RwLock, RwLockReadGuard};

/// Connections to one database. Clones share them, also after the pool was replaced.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    backend: DatabaseBackend,
    max_connections: u32,
    current: RwLock<Current>,
    /// How it is replaced. None for an embedded database, which has no network.
    anew: Option<Anew>,
    /// For a connection and a statement on it. The server's own limit does not help if its answer is lost.
    answer_max: Option<Duration>,
}

#[derive(Debug)]
struct Current {
    connection: DatabaseConnection,
    pulse: Arc<Pulse>,
    replacements: u64,
}

#[derive(Debug)]
struct Anew {
    postgres: Postgres,
    /// Connections are lost if none was opened, returned or closed for this long: longer than a statement lasts and its
    /// connection takes to return.
    after: Duration,
}

impl Anew {
    fn open(&self, replacements: u64) -> Current {
        let pulse = Arc::default();
        Current { connection: self.postgres.open_lazily(&pulse), pulse, replacements }
    }

    fn is_due(&self, current: &Current) -> bool {
        let pool = current.connection.get_postgres_connection_pool();
        pool.num_idle() == 0
            && pool.size() >= pool.options().get_max_connections()
            && current.pulse.silent_for() > self.after
    }
}

impl From<DatabaseConnection> for Pool {
    /// One that is never replaced.
    fn from(connection: DatabaseConnection) -> Self {
        Self::new(Current { connection, pulse: Arc::default(), replacements: 0 }, None, None)
    }
}

impl Pool {
    /// Opens `sqlite://..` at once, `postgres://..` when the first connection is needed.
    pub async fn open(url: &str, options: &Options) -> Result<Self, DbErr> {
        if Dialect::of_url(url).is_sqlite() {
            return Ok(connect(url, options).await?.into());
        }
        let postgres = Postgres::new(url, options)?;
        let after = options.statement_timeout + ABANDONED_MAX;
        let anew = Anew { postgres, after };
        Ok(Self::new(anew.open(0), Some(anew), Some(options.acquire_timeout + after)))
    }

    fn new(current: Current, anew: Option<Anew>, answer_max: Option<Duration>) -> Self {
        let backend = current.connection.get_database_backend();
        let max_connections = match backend {
            DatabaseBackend::Sqlite => current.connection.get_sqlite_connection_pool().options().get_max_connections(),
            _ => current.connection.get_postgres_connection_pool().options().get_max_connections(),
        };
        Self(Arc::new(Shared { backend, max_connections, current: RwLock::new(current), anew, answer_max }))
    }

    /// The maximum number of connections.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        self.0.max_connections
    }

    /// How often the pool was replaced.
    #[must_use]
    pub fn replacements(&self) -> u64 {
        self.current().replacements
    }

    /// Closes the pool: calls that wait for a connection fail. Waits for the connections in use.
    pub async fn close(&self) {
        let _ = self.now().close().await;
    }

    /// A transaction whose commit waits for PostgreSQL's synchronous standby, whatever other commits of the pool wait
    /// for.
    pub async fn begin_durable(&self) -> Result<DatabaseTransaction, DbErr> {
        if self.0.backend == DatabaseBackend::Sqlite {
            return self.begin().await;
        }
        // Under a stricter default level a statement would fail instead of wait for another one.
        let transaction = self.begin_with_config(Some(IsolationLevel::ReadCommitted), None).await?;
        transaction.execute_unprepared("SET LOCAL synchronous_commit = on").await?;
        Ok(transaction)
    }

    async fn answered<T>(&self, statement: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let Some(answer_max) = self.0.answer_max else { return statement.await };
        let answer = tokio::time::timeout(answer_max, statement).await;
        answer.unwrap_or_else(|_elapsed| Err(DbErr::Custom("the database does not answer".to_owned())))
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.0.current.read()
    }

    /// The current pool, for one statement or transaction.
    pub(super) fn now(&self) -> DatabaseConnection {
        let current = self.current();
        let Some(anew) = self.0.anew.as_ref().filter(|anew| anew.is_due(&current)) else {
            return current.connection.clone();
        };
        drop(current);
        let mut current = self.0.current.write();
        // Another call may have replaced it.
        if anew.is_due(&current) {
            tracing::warn!(connections = self.0.max_connections, "a pool's connections are all lost; it is replaced");
            // The call marks the pool as closed. The future is dropped: lost connections may never end.
            drop(current.connection.get_postgres_connection_pool().close());
            *current = anew.open(current.replacements + 1);
        }
        current.connection.clone()
    }
}

#[async_trait]
impl ConnectionTrait for Pool {
    fn get_database_backend(&self) -> DatabaseBackend {
        self.0.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.answered(self.now().execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.answered(self.now().execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.answered(self.now().query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.answered(self.now().query_all_raw(statement)).await
    }
}

#[async_trait]
impl TransactionTrait for Pool {
    type Transaction = DatabaseTransaction;

    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        self.answered(self.now().begin()).await
    }

    async fn begin_with_config(
        &self,
        isolation: Option<IsolationLevel>,
        access: Option<AccessMode>,
    ) -> Result<DatabaseTransaction, DbErr> {
        self.answered(self.now().begin_with_config(isolation, access)).await
    }

    async fn begin_with_options(&self, options: TransactionOptions) -> Result<DatabaseTransaction, DbErr> {
        self.answered(self.now().begin_with_options(options)).await
    }

    async fn transaction<F, T, E>(&self, work: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c DatabaseTransaction) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        self.now().transaction(work).await
    }

    async fn transaction_with_config<F, T, E>(
        &self,
        work: F,
        isolation: Option<IsolationLevel>,
        access: Option<AccessMode>,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c DatabaseTransaction) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        self.now().transaction_with_config(work, isolation, access).await
    }
}
