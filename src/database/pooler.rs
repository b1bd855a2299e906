//! Statements through a connection pooler such as PgBouncer in transaction mode: the server's connection is another one
//! after each transaction.
//!
//! So nothing may outlive a transaction, neither settings nor prepared statements: of a named one, another client's
//! statement of that name would run with our parameters. Each statement outside of a transaction is one message of the
//! simple query protocol, its settings before it, which the server runs as one transaction. That is one round trip, and
//! the server's connection is in use only meanwhile.
//!
//! Rejected: unnamed prepared statements in BEGIN and COMMIT. sqlx prepares and runs in two round trips, so a statement
//! would take four and hold the server's connection over all of them.

use std::sync::Arc;

use sea_orm::{
    AccessMode, ConnAcquireErr, DatabaseConnection, DbErr, ExecResult, IsolationLevel, QueryResult, RuntimeErr,
    Statement,
    sqlx::{self, AssertSqlSafe, Executor, PgConnection, Postgres, pool::PoolConnection, postgres::PgRow},
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::{literal::with_values, settings::SessionSettings};

/// How statements carry the settings of their pool.
#[derive(Debug)]
pub(super) struct Pooled {
    settings: String,
}

impl Pooled {
    pub(super) fn new(settings: &SessionSettings) -> Self {
        Self { settings: settings.of_transaction() }
    }

    pub(super) async fn execute(&self, pool: &DatabaseConnection, sql: &str) -> Result<ExecResult, DbErr> {
        execute(&mut *connection(pool).await?, &self.alone(sql)).await
    }

    pub(super) async fn execute_raw(&self, pool: &DatabaseConnection, asked: &Statement) -> Result<ExecResult, DbErr> {
        self.execute(pool, &with_values(asked)?).await
    }

    pub(super) async fn one(&self, pool: &DatabaseConnection, asked: &Statement) -> Result<Option<QueryResult>, DbErr> {
        one(&mut *connection(pool).await?, &self.alone(&with_values(asked)?)).await
    }

    pub(super) async fn all(&self, pool: &DatabaseConnection, asked: &Statement) -> Result<Vec<QueryResult>, DbErr> {
        all(&mut *connection(pool).await?, &self.alone(&with_values(asked)?)).await
    }

    pub(super) async fn begin(
        self: &Arc<Self>,
        pool: &DatabaseConnection,
        isolation: Option<IsolationLevel>,
        access: Option<AccessMode>,
    ) -> Result<PooledTransaction, DbErr> {
        let isolation = isolation.map_or_else(String::new, |level| format!(" ISOLATION LEVEL {level}"));
        let access = access.map_or_else(String::new, |mode| format!(" {mode}"));
        let begin = format!("BEGIN{isolation}{access}; {}", self.settings);
        let begun = pool.get_postgres_connection_pool().begin_with(AssertSqlSafe(begin)).await;
        let begun =
            OpenTransaction { transaction: Some(begun.map_err(acquire_error)?), savepoints: 0, is_broken: false };
        Ok(PooledTransaction { begun: Arc::new(Mutex::new(begun)), pooled: Arc::clone(self), savepoint: None })
    }

    /// PostgreSQL runs several statements of one message as one transaction.
    fn alone(&self, sql: &str) -> String {
        format!("{}{sql}", self.settings)
    }
}

/// A transaction, or a savepoint in one. Dropping a transaction rolls it back.
#[derive(Debug)]
pub(super) struct PooledTransaction {
    begun: Arc<Mutex<OpenTransaction>>,
    pooled: Arc<Pooled>,
    /// Its number. None: the transaction itself.
    savepoint: Option<u32>,
}

#[derive(Debug)]
struct OpenTransaction {
    /// None once it has ended.
    transaction: Option<sqlx::Transaction<'static, Postgres>>,
    savepoints: u32,
    /// A savepoint was neither released nor rolled back.
    is_broken: bool,
}

impl PooledTransaction {
    pub(super) async fn execute(&self, sql: &str) -> Result<ExecResult, DbErr> {
        execute(&mut *self.connection().await?, sql).await
    }

    pub(super) async fn execute_raw(&self, asked: &Statement) -> Result<ExecResult, DbErr> {
        self.execute(&with_values(asked)?).await
    }

    pub(super) async fn one(&self, asked: &Statement) -> Result<Option<QueryResult>, DbErr> {
        one(&mut *self.connection().await?, &with_values(asked)?).await
    }

    pub(super) async fn all(&self, asked: &Statement) -> Result<Vec<QueryResult>, DbErr> {
        all(&mut *self.connection().await?, &with_values(asked)?).await
    }

    /// Begins it again, on the same connection of the server, with a new snapshot.
    pub(super) async fn begin_again(&self) -> Result<(), DbErr> {
        self.execute(&format!("ROLLBACK AND CHAIN; {}", self.pooled.settings)).await.map(drop)
    }

    pub(super) async fn savepoint(&self) -> Result<Self, DbErr> {
        let number = {
            let mut begun = self.begun.lock().await;
            begun.savepoints += 1;
            begun.savepoints
        };
        self.execute(&format!("SAVEPOINT userdata_{number}")).await?;
        Ok(Self { begun: Arc::clone(&self.begun), pooled: Arc::clone(&self.pooled), savepoint: Some(number) })
    }

    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.end("RELEASE SAVEPOINT", sqlx::Transaction::commit).await
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        self.end("ROLLBACK TO SAVEPOINT", sqlx::Transaction::rollback).await
    }

    async fn end<F>(
        mut self,
        of_savepoint: &str,
        of_transaction: impl FnOnce(sqlx::Transaction<'static, Postgres>) -> F,
    ) -> Result<(), DbErr>
    where
        F: Future<Output = Result<(), sqlx::Error>>,
    {
        if let Some(number) = self.savepoint {
            self.execute(&format!("{of_savepoint} userdata_{number}")).await?;
            self.savepoint = None;
            return Ok(());
        }
        let mut begun = self.begun.lock().await;
        let transaction = begun.transaction.take().filter(|_| !begun.is_broken).ok_or_else(ended)?;
        of_transaction(transaction).await.map_err(query_error)
    }

    async fn connection(&self) -> Result<MappedMutexGuard<'_, PgConnection>, DbErr> {
        let begun = self.begun.lock().await;
        MutexGuard::try_map(begun, |begun| begun.transaction.as_deref_mut().filter(|_| !begun.is_broken))
            .map_err(|_begun| ended())
    }
}

impl Drop for PooledTransaction {
    /// What a savepoint was to undo must not be committed.
    fn drop(&mut self) {
        if self.savepoint.is_some()
            && let Ok(mut begun) = self.begun.try_lock()
        {
            begun.is_broken = true;
        }
    }
}

async fn connection(pool: &DatabaseConnection) -> Result<PoolConnection<Postgres>, DbErr> {
    pool.get_postgres_connection_pool().acquire().await.map_err(acquire_error)
}

async fn execute(connection: &mut PgConnection, sql: &str) -> Result<ExecResult, DbErr> {
    let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
    done.map(ExecResult::from).map_err(|error| DbErr::Exec(RuntimeErr::SqlxError(error.into())))
}

async fn one(connection: &mut PgConnection, sql: &str) -> Result<Option<QueryResult>, DbErr> {
    let row = connection.fetch_optional(AssertSqlSafe(sql.to_owned())).await;
    row.map(|row| row.map(QueryResult::from)).map_err(query_error)
}

async fn all(connection: &mut PgConnection, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    let rows: Vec<PgRow> = connection.fetch_all(AssertSqlSafe(sql.to_owned())).await.map_err(query_error)?;
    Ok(rows.into_iter().map(QueryResult::from).collect())
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

fn acquire_error(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}

fn ended() -> DbErr {
    DbErr::Custom("the transaction has ended".to_owned())
}
