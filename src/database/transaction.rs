//! A transaction, on a connection of our own or through a connection pooler.

use std::pin::Pin;

use async_trait::async_trait;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, ExecResult, IsolationLevel, QueryResult,
    Statement, TransactionError, TransactionOptions, TransactionSession, TransactionTrait,
};

use super::pooler::PooledTransaction;

/// A transaction, or a savepoint in one. Dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction(TransactionKind);

#[derive(Debug)]
enum TransactionKind {
    Direct(DatabaseTransaction),
    Pooled(PooledTransaction),
}

impl From<DatabaseTransaction> for Transaction {
    fn from(transaction: DatabaseTransaction) -> Self {
        Self(TransactionKind::Direct(transaction))
    }
}

impl From<PooledTransaction> for Transaction {
    fn from(transaction: PooledTransaction) -> Self {
        Self(TransactionKind::Pooled(transaction))
    }
}

impl Transaction {
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.0 {
            TransactionKind::Direct(transaction) => transaction.commit().await,
            TransactionKind::Pooled(transaction) => transaction.commit().await,
        }
    }

    pub async fn rollback(self) -> Result<(), DbErr> {
        match self.0 {
            TransactionKind::Direct(transaction) => transaction.rollback().await,
            TransactionKind::Pooled(transaction) => transaction.rollback().await,
        }
    }

    /// Rolls it back and begins it again, on the same connection of the server: the next statement takes a new snapshot.
    pub async fn begin_again(&self) -> Result<(), DbErr> {
        match &self.0 {
            TransactionKind::Direct(transaction) => {
                transaction.execute_unprepared("ROLLBACK AND CHAIN").await.map(drop)
            }
            TransactionKind::Pooled(transaction) => transaction.begin_again().await,
        }
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DatabaseBackend {
        match &self.0 {
            TransactionKind::Direct(transaction) => transaction.get_database_backend(),
            TransactionKind::Pooled(_) => DatabaseBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match &self.0 {
            TransactionKind::Direct(transaction) => transaction.execute_raw(statement).await,
            TransactionKind::Pooled(transaction) => transaction.execute_raw(&statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.0 {
            TransactionKind::Direct(transaction) => transaction.execute_unprepared(sql).await,
            TransactionKind::Pooled(transaction) => transaction.execute(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.0 {
            TransactionKind::Direct(transaction) => transaction.query_one_raw(statement).await,
            TransactionKind::Pooled(transaction) => transaction.one(&statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.0 {
            TransactionKind::Direct(transaction) => transaction.query_all_raw(statement).await,
            TransactionKind::Pooled(transaction) => transaction.all(&statement).await,
        }
    }
}

#[async_trait]
impl TransactionTrait for Transaction {
    type Transaction = Self;

    /// A savepoint.
    async fn begin(&self) -> Result<Self, DbErr> {
        self.begin_with_config(None, None).await
    }

    async fn begin_with_config(
        &self,
        isolation: Option<IsolationLevel>,
        access: Option<AccessMode>,
    ) -> Result<Self, DbErr> {
        match &self.0 {
            TransactionKind::Direct(transaction) => Ok(transaction.begin_with_config(isolation, access).await?.into()),
            TransactionKind::Pooled(transaction) => Ok(transaction.savepoint().await?.into()),
        }
    }

    async fn begin_with_options(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        match &self.0 {
            TransactionKind::Direct(transaction) => Ok(transaction.begin_with_options(options).await?.into()),
            TransactionKind::Pooled(transaction) => Ok(transaction.savepoint().await?.into()),
        }
    }

    async fn transaction<F, T, E>(&self, work: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Self) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
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
        F: for<'c> FnOnce(&'c Self) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        let begun = self.begin_with_config(isolation, access).await.map_err(TransactionError::Connection)?;
        within(begun, work).await
    }
}

#[async_trait]
impl TransactionSession for Transaction {
    async fn commit(self) -> Result<(), DbErr> {
        self.commit().await
    }

    async fn rollback(self) -> Result<(), DbErr> {
        self.rollback().await
    }
}

/// Commits what `work` does, or rolls it back.
pub(super) async fn within<F, T, E>(transaction: Transaction, work: F) -> Result<T, TransactionError<E>>
where
    F: for<'c> FnOnce(&'c Transaction) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
    T: Send,
    E: std::fmt::Display + std::fmt::Debug + Send,
{
    let done = work(&transaction).await.map_err(TransactionError::Transaction);
    let ended = if done.is_ok() { transaction.commit().await } else { transaction.rollback().await };
    ended.map_err(TransactionError::Connection)?;
    done
}
