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
    AccessMode, ConnectionTrait, DatabaseBackend, DatabaseConnection, DbErr, ExecResult, IsolationLevel, QueryResult,
    Statement, TransactionError, TransactionOptions, TransactionTrait,
};

use super::{
    ConnectError, Dialect, Options, connect,
    pooler::Pooled,
    postgres::{ABANDONED_MAX, Postgres, Pulse},
    settings::PoolerRefusal,
    transaction::{Transaction, within},
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
    /// None: each connection leads to one of the server's.
    pooled: Option<Arc<Pooled>>,
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
        Self::new(Current { connection, pulse: Arc::default(), replacements: 0 }, None, None, None)
    }
}

impl Pool {
    /// Opens `sqlite://..` at once, `postgres://..` when the first connection is needed.
    pub async fn open(url: &str, options: &Options) -> Result<Self, DbErr> {
        if Dialect::of_url(url).is_sqlite() {
            return Ok(connect(url, options).await?.into());
        }
        let postgres = Postgres::new(url, options)?;
        let (pooled, after) = (postgres.pooled(), options.statement_timeout + ABANDONED_MAX);
        let anew = Anew { postgres, after };
        Ok(Self::new(anew.open(0), Some(anew), Some(options.acquire_timeout + after), pooled))
    }

    /// Opens a first connection at once, for one command, with one try: the error says why there is none.
    pub async fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        if Dialect::of_url(url).is_sqlite() {
            return Ok(connect(url, options).await?.into());
        }
        let postgres = Postgres::new(url, options)?;
        postgres.try_once().await?;
        let current = Current { connection: postgres.open().await?, pulse: Arc::default(), replacements: 0 };
        Ok(Self::new(current, None, None, postgres.pooled()))
    }

    /// Whether a connection pooler keeps the settings of connections from taking effect. None, too, if the database cannot
    /// be reached now.
    pub async fn refused_by_pooler(&self) -> Option<PoolerRefusal> {
        match self.0.anew.as_ref()?.postgres.try_once().await {
            Err(ConnectError::Pooler(refusal)) => Some(refusal),
            _ => None,
        }
    }

    fn new(current: Current, anew: Option<Anew>, answer_max: Option<Duration>, pooled: Option<Arc<Pooled>>) -> Self {
        let backend = current.connection.get_database_backend();
        let max_connections = match backend {
            DatabaseBackend::Sqlite => current.connection.get_sqlite_connection_pool().options().get_max_connections(),
            _ => current.connection.get_postgres_connection_pool().options().get_max_connections(),
        };
        Self(Arc::new(Shared { backend, max_connections, current: RwLock::new(current), anew, answer_max, pooled }))
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
    pub async fn begin_durable(&self) -> Result<Transaction, DbErr> {
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
        let answer = answer.unwrap_or_else(|_elapsed| Err(DbErr::Custom("the database does not answer".to_owned())));
        answer.map_err(|error| self.explained(error))
    }

    /// The pool itself only knows that it got no connection.
    fn explained(&self, error: DbErr) -> DbErr {
        let refusal = self.0.anew.as_ref().filter(|_| matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_)));
        let refusal = refusal.and_then(|anew| anew.postgres.refusal(&error));
        refusal.map_or(error, |refusal| DbErr::Custom(refusal.to_string()))
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
        match &self.0.pooled {
            None => self.answered(self.now().execute_raw(statement)).await,
            Some(pooled) => self.answered(pooled.execute_raw(&self.now(), &statement)).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.0.pooled {
            None => self.answered(self.now().execute_unprepared(sql)).await,
            Some(pooled) => self.answered(pooled.execute(&self.now(), sql)).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.0.pooled {
            None => self.answered(self.now().query_one_raw(statement)).await,
            Some(pooled) => self.answered(pooled.one(&self.now(), &statement)).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.0.pooled {
            None => self.answered(self.now().query_all_raw(statement)).await,
            Some(pooled) => self.answered(pooled.all(&self.now(), &statement)).await,
        }
    }
}

#[async_trait]
impl TransactionTrait for Pool {
    type Transaction = Transaction;

    async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_with_config(None, None).await
    }

    async fn begin_with_config(
        &self,
        isolation: Option<IsolationLevel>,
        access: Option<AccessMode>,
    ) -> Result<Transaction, DbErr> {
        let now = self.now();
        match &self.0.pooled {
            None => Ok(self.answered(now.begin_with_config(isolation, access)).await?.into()),
            Some(pooled) => Ok(self.answered(pooled.begin(&now, isolation, access)).await?.into()),
        }
    }

    async fn begin_with_options(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        let now = self.now();
        match &self.0.pooled {
            None => Ok(self.answered(now.begin_with_options(options)).await?.into()),
            Some(_) => self.begin_with_config(options.isolation_level, options.access_mode).await,
        }
    }

    async fn transaction<F, T, E>(&self, work: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Transaction) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        self.transaction_with_config(work, None, None).await
    }

    async fn transaction_with_config<F, T, E>(
        &self,
        work: F,
        isolation: Option<IsolationLevel>,
        access: Option<AccessMode>,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Transaction) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        let begun = self.begin_with_config(isolation, access).await.map_err(TransactionError::Connection)?;
        within(begun, work).await
    }
}
