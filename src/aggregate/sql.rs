//! Reads tables that belong to the planning application, on either database.
//!
//! Each statement stands whole in a `.sql` file, written for the tables as `source_schema` describes them; it is adapted
//! to the tables that are there. It casts the columns that it selects to text, bigint or double precision, so that both
//! databases return the same three types for any stored value: SQLite stores any value in any column, and a broken
//! column must never fail a section. A value that cannot be read is absent, with a warning.
//!
//! A statement names each column with its table's alias. Each source reads in one read-only transaction, so that its
//! rows agree with each other.

mod columns;
mod replica;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, TransactionTrait, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use columns::Warnings;
pub(super) use columns::{Columns, SourceRow};
pub use replica::Replication;

use super::error::SourceError;
use crate::{
    database::{Dialect, Pool, SqlFile, Transaction, is_schema_change},
    source_schema::{Schema, SchemaCache, Schemas, SourceTable},
    user_files::FileCopy,
};

/// The database that the sources read from, and the limits of reading.
#[derive(Clone, Debug)]
pub struct SourceDatabase {
    pool: Pool,
    /// None: the pool's database is no replica.
    replication: Option<Replication>,
    schema: Arc<SchemaCache>,
    /// As many as the pool has connections. A source waits here, up to its own time limit. The pool's time limit then
    /// covers only the opening of a connection, which is quick or hopeless.
    permits: Arc<Semaphore>,
    /// A larger JSON column counts as absent.
    json_bytes_max: i64,
    /// Of the user's file, which the pool is of: it lives as long as it is read.
    _copy: Option<Arc<FileCopy>>,
}

impl SourceDatabase {
    #[must_use]
    pub fn new(pool: Pool, column_bytes_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(pool.max_connections() as usize));
        let json_bytes_max = i64::try_from(column_bytes_max).unwrap_or(i64::MAX);
        Self { pool, replication: None, schema: Arc::default(), permits, json_bytes_max, _copy: None }
    }

    /// The same, whose database may be a replica if `replication` is given.
    #[must_use]
    pub fn behind(self, replication: Option<Replication>) -> Self {
        Self { replication, ..self }
    }

    /// A copy of one user's file, with the statements of all files that have the same tables.
    pub(super) fn of_copy(copy: Arc<FileCopy>, schemas: &Arc<Schemas>, column_bytes_max: usize) -> Self {
        let schema = Arc::new(SchemaCache::sharing(Arc::clone(schemas)));
        Self { schema, _copy: Some(Arc::clone(&copy)), ..Self::new(copy.pool.clone(), column_bytes_max) }
    }

    /// Begins a read-only transaction in which all statements see the same rows, and warns of what these statements
    /// cannot read in this database.
    pub async fn begin(&self, statements: &[SqlFile]) -> Result<(ReadTransaction, Warnings), SourceError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_closed| DbErr::Custom("the semaphore is never closed".to_owned()))?;
        let dialect = Dialect::of(&self.pool);
        let transaction = match (dialect, &self.replication) {
            // A deferred transaction: in WAL mode its first read fixes the snapshot.
            (Dialect::Sqlite, _) => self.pool.begin().await?,
            (Dialect::Postgres, None) => replica::begin(&self.pool).await?,
            (Dialect::Postgres, Some(replication)) => replication.begin(&self.pool).await?,
        };
        let schema = self.schema.get(&transaction).await?;
        if !schema.catalogue().knows_users() {
            return Err(SourceError::NoTables);
        }
        let warnings = Warnings::of_schema(schema.differences(statements));
        let cache = Arc::clone(&self.schema);
        let json_bytes_max = self.json_bytes_max;
        Ok((ReadTransaction { transaction, schema, cache, dialect, json_bytes_max, _permit: permit }, warnings))
    }

    /// As if ten seconds had passed: the next transaction reads the catalogue.
    #[cfg(test)]
    pub(super) fn suspect_schema(&self) {
        self.schema.suspect();
    }

    /// Reads by `read`, and once more if its statements were made for tables that have changed since.
    pub(super) async fn read<T, F>(&self, read: impl Fn() -> F) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        // On the heap, because the futures are large.
        match Box::pin(read()).await {
            Err(SourceError::Sql(error)) if is_schema_change(&error) => {
                tracing::warn!(%error, "sources: tables have changed; the catalogue is read again");
                Box::pin(read()).await
            }
            done => done,
        }
    }
}

/// One source's read-only transaction.
#[derive(Debug)]
pub struct ReadTransaction {
    transaction: Transaction,
    schema: Arc<Schema>,
    cache: Arc<SchemaCache>,
    dialect: Dialect,
    json_bytes_max: i64,
    _permit: OwnedSemaphorePermit,
}

impl ReadTransaction {
    pub(super) async fn all<const N: usize>(
        &self,
        statement: SqlFile,
        values: [Value; N],
    ) -> Result<Vec<SourceRow>, DbErr> {
        let adapted = self.schema.adapted(statement);
        let rows = self.transaction.query_all_raw(self.dialect.statement(adapted.sql.as_str(), values)).await;
        let rows = rows.inspect_err(|error| {
            if is_schema_change(error) {
                self.cache.suspect();
            }
        })?;
        Ok(rows.into_iter().map(SourceRow::new).collect())
    }

    /// The first row of a statement that returns few.
    pub(super) async fn one<const N: usize>(
        &self,
        statement: SqlFile,
        values: [Value; N],
    ) -> Result<Option<SourceRow>, DbErr> {
        Ok(self.all(statement, values).await?.into_iter().next())
    }

    /// Whether the database has this column.
    pub(super) fn has(&self, table: &SourceTable, column: &str) -> bool {
        self.schema.catalogue().has_column(table, column)
    }

    /// The limit of a JSON column, for the statements that read one.
    pub(super) fn json_bytes_max(&self) -> Value {
        self.json_bytes_max.into()
    }

    pub(super) fn time(&self, time: DateTime<Utc>) -> Value {
        self.dialect.time(time)
    }

    /// Ends the transaction, in which nothing was written. Dropping it does the same, later.
    pub async fn end(self) -> Result<(), DbErr> {
        self.transaction.rollback().await
    }

    /// SQLite's plan of a statement, one step a line.
    #[cfg(test)]
    pub(super) async fn plan<const N: usize>(&self, statement: SqlFile, values: [Value; N]) -> String {
        let explain = format!("EXPLAIN QUERY PLAN {}", self.schema.adapted(statement).sql);
        let steps = self.transaction.query_all_raw(self.dialect.statement(explain, values)).await.unwrap();
        let steps: Vec<String> = steps.into_iter().filter_map(|step| SourceRow::new(step).text("detail")).collect();
        steps.join("\n")
    }
}
