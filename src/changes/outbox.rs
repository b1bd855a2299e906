//! The outbox, as the relay reads it.
//!
//! Rows are deleted by their ids, only those that were read: a writer that commits late may bring a row
//! with a lower id than those already gone.

use std::{collections::HashMap, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, Statement, TransactionTrait, Value};

use super::install::OUTBOX;
use crate::{
    database::{Pool, is_busy, is_sqlite, repeat_while},
    model::{Scope, SectionSet, StrategyId, UserId},
};

/// The table, in the database of the sources.
#[derive(Clone, Debug)]
pub struct Outbox {
    pool: Pool,
}

/// What waits in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many rows.
    pub rows: i64,
    /// The age of the oldest, by the database's clock.
    pub age: Duration,
}

/// What waits; none if there is no outbox. Changes nothing.
pub async fn waiting(db: &DatabaseConnection) -> Result<Option<Waiting>, DbErr> {
    if userdata_migrations::columns_of(db, OUTBOX).await?.is_empty() {
        return Ok(None);
    }
    let age = if is_sqlite(db) { AGE_MS_SQLITE } else { AGE_MS_POSTGRES };
    let sql = format!("SELECT COUNT(*) AS n, COALESCE(MAX({age}), 0) AS age_ms FROM {OUTBOX}");
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    row.map(|row| {
        let age_ms: i64 = row.try_get("", "age_ms")?;
        Ok(Waiting { rows: row.try_get("", "n")?, age: Duration::from_millis(age_ms.try_into().unwrap_or_default()) })
    })
    .transpose()
}

/// How long ago a row was written, in its database's words.
const AGE_MS_SQLITE: &str = "CAST((julianday('now') - julianday(created_at)) * 86400000 AS INTEGER)";
const AGE_MS_POSTGRES: &str =
    "CAST(EXTRACT(EPOCH FROM (clock_timestamp() AT TIME ZONE 'utc') - created_at) * 1000 AS BIGINT)";

/// Rows that were read, and on PostgreSQL locked, so that no other instance takes them too.
#[derive(Debug)]
pub struct Batch {
    /// How many.
    pub rows: usize,
    /// The age of the oldest.
    pub age: Duration,
    /// Whom they concern, each once.
    pub scopes: Vec<Scope>,
    ids: Vec<i64>,
    pool: Pool,
    transaction: Option<DatabaseTransaction>,
}

impl Outbox {
    /// Works through `pool`, which has to be able to write.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Whether the table is there.
    pub async fn exists(&self) -> Result<bool, DbErr> {
        Ok(!userdata_migrations::columns_of(&self.pool, OUTBOX).await?.is_empty())
    }

    /// How many rows wait.
    pub async fn backlog(&self) -> Result<i64, DbErr> {
        let row = self.pool.query_one_raw(self.statement("SELECT COUNT(*) AS n FROM invalidation_outbox", [])).await?;
        row.map_or(Ok(0), |row| row.try_get("", "n"))
    }

    /// The oldest rows that nobody else is moving, at most `rows_max`; none if there are none.
    pub async fn read(&self, rows_max: u64) -> Result<Option<Batch>, DbErr> {
        // Nearly always there is nothing, which one small statement tells.
        let any = self.statement("SELECT id FROM invalidation_outbox LIMIT 1", []);
        if self.pool.query_one_raw(any).await?.is_none() {
            return Ok(None);
        }
        let limit = [i64::try_from(rows_max).unwrap_or(i64::MAX).into()];
        if self.pool.is_sqlite() {
            // Not locked: another instance that moves the same rows appends the same invalidations, which does no harm.
            let rows = self.pool.query_all_raw(self.statement(READ_SQLITE, limit)).await?;
            return Batch::of(&rows, self.pool.clone(), None);
        }
        let transaction = self.pool.begin().await?;
        let rows = transaction.query_all_raw(self.statement(READ_POSTGRES, limit)).await?;
        Batch::of(&rows, self.pool.clone(), Some(transaction))
    }

    fn statement(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.pool.get_database_backend(), sql, values)
    }
}

const READ_SQLITE: &str = "SELECT id, user_id, strategy_id, sections, \
     CAST((julianday('now') - julianday(created_at)) * 86400000 AS INTEGER) AS age_ms \
     FROM invalidation_outbox ORDER BY id LIMIT $1";
const READ_POSTGRES: &str = "SELECT id, user_id, strategy_id, sections, \
     CAST(EXTRACT(EPOCH FROM (clock_timestamp() AT TIME ZONE 'utc') - created_at) * 1000 AS BIGINT) AS age_ms \
     FROM invalidation_outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";

impl Batch {
    fn of(
        rows: &[sea_orm::QueryResult],
        pool: Pool,
        transaction: Option<DatabaseTransaction>,
    ) -> Result<Option<Self>, DbErr> {
        let (mut ids, mut oldest_ms) = (Vec::with_capacity(rows.len()), 0);
        let mut scopes: HashMap<(String, Option<i64>), i64> = HashMap::new();
        for row in rows {
            ids.push(row.try_get("", "id")?);
            oldest_ms = oldest_ms.max(row.try_get::<i64>("", "age_ms")?);
            let whom = (row.try_get("", "user_id")?, row.try_get("", "strategy_id")?);
            *scopes.entry(whom).or_default() |= row.try_get::<i64>("", "sections")?;
        }
        if ids.is_empty() {
            return Ok(None);
        }
        let age = Duration::from_millis(oldest_ms.try_into().unwrap_or_default());
        let scopes = scopes.into_iter().filter_map(scope).collect();
        Ok(Some(Self { rows: ids.len(), age, scopes, ids, pool, transaction }))
    }

    /// Deletes the rows. Only after their invalidations are durable: a change lost here would be served outdated. Safe to repeat.
    pub async fn delete(&mut self) -> Result<(), DbErr> {
        let ids: Vec<String> = self.ids.iter().map(i64::to_string).collect();
        let sql = format!("DELETE FROM invalidation_outbox WHERE id IN ({})", ids.join(", "));
        match self.transaction.take() {
            Some(transaction) => {
                transaction.execute_unprepared(&sql).await?;
                transaction.commit().await
            }
            // A row that stays is invalidated again by every run.
            None => repeat_while(is_busy, || self.pool.execute_unprepared(&sql)).await.map(drop),
        }
    }
}

/// A user who cannot be asked about concerns nobody.
fn scope(((user, strategy), bits): ((String, Option<i64>), i64)) -> Option<Scope> {
    let user = UserId::parse(&user).ok()?;
    // A strategy's number that nobody can ask for: the entry without strategy may be about it.
    let strategy = strategy.and_then(StrategyId::new);
    Some(Scope { user, strategy, sections: SectionSet::from_bits(bits) })
}
