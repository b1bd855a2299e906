//! The database tier: one row per snapshot, as JSON, with columns for the statistics and the sweep.
//!
//! This tier does not judge validity: it returns rows with their read positions and epoch, expired ones too. Only reads
//! and probes move the circuit breaker: on SQLite a busy writer says nothing about reads. Statements that delete or count
//! run in the background or for an operator, with a timeout of their own.

mod accesses;
mod row;
mod statements;

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Statement, Value,
};

use self::{
    accesses::{Accessed, AccessedRow},
    row::{FORMAT, SIX_DECIMALS, StoredRow, strategy_key},
    statements::Statements,
};
use super::{error::TierError, guard::TierGuard, tier_metrics::WriteOutcome};
use crate::{
    clock::Clock,
    config,
    database::{self, Pool, Reach},
    entity::cache_entry,
    fault::{Call, Faults},
    lease::DoneCheck,
    model::{CacheKey, Scope, Snapshot, StrategyId, Tier, UserId},
    proto::v1::AccessedEntry,
    telemetry::Meter,
};

/// For statements without a waiting request.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows per statement in the search for queries without parameters.
const WARMABLE_PAGE: u64 = 500;
/// Rows in all: further ones are rarely accessed.
const WARMABLE_ROWS_MAX: u64 = 10_000;

#[derive(Debug)]
pub struct DatabaseTier {
    pool: Pool,
    statements: &'static Statements,
    timeout: Duration,
    sweep_batch: u64,
    clock: Clock,
    pub(in crate::cache) guard: TierGuard,
    reach: Reach,
    faults: Faults,
}

/// Rows of the cache table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCounts {
    pub total: i64,
    pub expired: i64,
}

impl DatabaseTier {
    #[must_use]
    pub fn new(pool: Pool, config: &config::Database, clock: Clock) -> Self {
        let statements = match pool.get_database_backend() {
            DatabaseBackend::Sqlite => &statements::SQLITE,
            _ => &statements::POSTGRES,
        };
        Self {
            pool,
            statements,
            timeout: config.timeout,
            sweep_batch: config.sweep_batch,
            guard: TierGuard::new(Tier::Database, clock.clone()),
            reach: Reach::default(),
            faults: Faults::here(),
            clock,
        }
    }

    /// Records each lookup with `meter`.
    #[must_use]
    pub fn measured(self, meter: &Meter) -> Self {
        Self { guard: self.guard.measured(meter), ..self }
    }

    /// The stored snapshot, valid or not, expired or not. One statement.
    pub async fn get(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        self.guard.lookup(self.look_up(key)).await
    }

    async fn look_up(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        let values = [key.user.as_str().into(), strategy_key(key.strategy).into(), key.hash.to_string().into()];
        let read = self.statement(self.statements.read, values);
        // Order: before the query, or the snapshot would live longer by the round trip.
        let asked_at = self.clock.utc();
        let row = within(self.timeout, self.faults.through(Call::Row, self.pool.query_one_raw(read))).await;
        self.learn(&row);
        let Some(row) = row? else { return Ok(None) };
        StoredRow::read(&row)?.into_snapshot(key, asked_at).map(Some)
    }

    /// Whether [`get`](Self::get) would find a row: the check that goes with claiming a lease.
    #[must_use]
    pub fn is_stored(&self, key: &CacheKey) -> DoneCheck {
        let values = vec![key.user.as_str().into(), strategy_key(key.strategy).into(), key.hash.to_string().into()];
        DoneCheck { sql: self.statements.is_stored, values }
    }

    /// Whether the circuit is closed, for others that use this database.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.reach.clone()
    }

    fn learn<T>(&self, answer: &Result<T, TierError>) {
        self.guard.report(answer);
        self.reach.set(self.guard.breaker.is_closed());
    }

    /// Stores a snapshot until it expires, unless the row there is newer, or complete and valid where this one is partial.
    /// A row below the position of the scope's last invalidation counts as invalid.
    pub async fn put(&self, snapshot: &Snapshot, last_invalidation: i64) -> Result<(), TierError> {
        let written = self.try_put(snapshot, last_invalidation).await;
        self.guard.metrics.wrote(WriteOutcome::of(&written));
        written
    }

    async fn try_put(&self, snapshot: &Snapshot, last_invalidation: i64) -> Result<(), TierError> {
        self.guard.admit()?;
        self.write(self.upsert(snapshot, last_invalidation)?, BACKGROUND_TIMEOUT).await.map(|_| ())
    }

    fn upsert(&self, snapshot: &Snapshot, last_invalidation: i64) -> Result<Statement, TierError> {
        let key = &snapshot.key;
        let life = snapshot.expires_at - self.clock.utc();
        let values: [Value; 13] = [
            key.user.as_str().into(),
            key.strategy.map(StrategyId::get).into(),
            key.hash.to_string().into(),
            row::document_json(snapshot)?.into(),
            life.num_microseconds().unwrap_or(i64::MAX).into(),
            strategy_key(key.strategy).into(),
            snapshot.read_position_max().into(),
            self.time(snapshot.as_of),
            snapshot.epoch.to_string().into(),
            row::sections_json(snapshot)?.into(),
            snapshot.complete().into(),
            FORMAT.into(),
            last_invalidation.into(),
        ];
        Ok(self.statement(self.statements.upsert, values))
    }

    /// Deletes the scope's rows that the invalidation at `below` has outdated. Returns how many.
    /// Ignores the scope's sections: rows are deleted as a whole.
    pub async fn remove(&self, scope: &Scope, below: i64) -> Result<u64, TierError> {
        self.guard.admit()?;
        let rows = rows_of(scope).filter(cache_entry::Column::ReadPosition.lt(below));
        self.write(rows.build(self.backend()), self.timeout).await
    }

    /// Deletes the scope's rows and, for a whole user, the user's AI responses. Returns how many rows. Ignores the circuit
    /// breaker, because a purge has to be attempted.
    pub async fn purge(&self, scope: &Scope) -> Result<u64, TierError> {
        let rows = self.write(rows_of(scope).build(self.backend()), BACKGROUND_TIMEOUT).await?;
        if scope.strategy.is_none() {
            let responses = self.statement(self.statements.purge_memos, [scope.user.as_str().into()]);
            self.write(responses, BACKGROUND_TIMEOUT).await?;
        }
        Ok(rows)
    }

    /// Deletes expired rows created longer ago than `older_than`, in batches. Returns how many.
    pub async fn sweep(&self, older_than: Duration, batch: u64) -> Result<u64, TierError> {
        let seconds = i64::try_from(older_than.as_secs()).unwrap_or(i64::MAX);
        self.delete_in_batches(None, batch, |rows| self.statement(self.statements.sweep, [seconds.into(), rows.into()]))
            .await
    }

    /// Deletes expired rows, at most `limit` or all, in batches. Returns how many.
    pub async fn cleanup(&self, limit: Option<u64>) -> Result<u64, TierError> {
        let statement = |rows: i64| self.statement(self.statements.cleanup, [rows.into()]);
        self.delete_in_batches(limit, self.sweep_batch, statement).await
    }

    async fn delete_in_batches(
        &self,
        limit: Option<u64>,
        batch: u64,
        statement: impl Fn(i64) -> Statement,
    ) -> Result<u64, TierError> {
        let mut deleted = 0;
        loop {
            let rows = batch.min(limit.map_or(u64::MAX, |limit| limit - deleted));
            if rows == 0 {
                return Ok(deleted);
            }
            let delete = statement(i64::try_from(rows).unwrap_or(i64::MAX));
            let gone = self.write(delete, BACKGROUND_TIMEOUT).await?;
            deleted += gone;
            if gone < rows {
                return Ok(deleted);
            }
        }
    }

    pub async fn counts(&self) -> Result<RowCounts, TierError> {
        let counts = self.statement(self.statements.counts, []);
        let read = async {
            let row = self.pool.query_one_raw(counts).await?;
            let row = row.ok_or_else(|| DbErr::RecordNotFound("counts".to_owned()))?;
            Ok(RowCounts { total: row.try_get("", "total")?, expired: row.try_get("", "expired")? })
        };
        within(BACKGROUND_TIMEOUT, read).await
    }

    /// The most accessed rows, by count, then last access.
    pub async fn most_accessed(&self, limit: u64) -> Result<Vec<AccessedEntry>, TierError> {
        Ok(self.accessed(0, limit).await?.into_iter().map(Accessed::into_entry).collect())
    }

    /// The most accessed queries without parameters. A row does not store its parameters, but its hash shows that there
    /// are none.
    pub async fn most_accessed_without_parameters(
        &self,
        limit: usize,
    ) -> Result<Vec<(UserId, Option<StrategyId>)>, TierError> {
        let mut questions = Vec::new();
        for page in 0..WARMABLE_ROWS_MAX / WARMABLE_PAGE {
            let rows = self.accessed(page * WARMABLE_PAGE, WARMABLE_PAGE).await?;
            let last = (rows.len() as u64) < WARMABLE_PAGE;
            questions.extend(rows.iter().filter_map(Accessed::without_parameters));
            if last || questions.len() >= limit {
                break;
            }
        }
        questions.truncate(limit);
        Ok(questions)
    }

    /// Never selects the documents.
    async fn accessed(&self, offset: u64, limit: u64) -> Result<Vec<Accessed>, TierError> {
        use cache_entry::Column;
        let rows = cache_entry::Entity::find()
            .select_only()
            .columns([Column::UserId, Column::StrategyId, Column::DataHash, Column::AccessCount, Column::LastAccessed])
            .order_by_desc(Column::AccessCount)
            .order_by_desc(Column::LastAccessed)
            .order_by_asc(Column::Id)
            .offset(offset)
            .limit(limit)
            .into_model::<Accessed>()
            .all(&self.pool);
        within(BACKGROUND_TIMEOUT, rows).await
    }

    /// Adds accesses (their number and the latest time) to their rows, in one statement. Skips keys without a row.
    pub async fn add_accesses(&self, accesses: &[(CacheKey, u64, DateTime<Utc>)]) -> Result<(), TierError> {
        if accesses.is_empty() {
            return Ok(());
        }
        let rows: Vec<AccessedRow<'_>> = accesses.iter().map(AccessedRow::of).collect();
        let rows = serde_json::to_string(&rows).expect("texts and integers have a JSON form");
        let add = self.statement(self.statements.accesses, [rows.into()]);
        self.write(add, BACKGROUND_TIMEOUT).await.map(|_| ())
    }

    /// Probes an open circuit if the pause is over.
    pub async fn probe(&self) {
        if !self.guard.breaker.start_probe() {
            return;
        }
        let probe = self.pool.query_one_raw(self.statement("SELECT 1", []));
        let answer = within(self.timeout, self.faults.through(Call::Row, probe)).await;
        self.learn(&answer);
    }

    /// Runs a statement that changes rows. Returns how many.
    async fn write(&self, statement: Statement, timeout: Duration) -> Result<u64, TierError> {
        let execute = || self.faults.through(Call::Row, self.pool.execute_raw(statement.clone()));
        let write = || within(timeout, execute());
        let busy = |error: &TierError| matches!(error, TierError::Database(error) if database::is_busy(error));
        let done = database::repeat_while(busy, write).await;
        Ok(done.inspect_err(|error| self.guard.metrics.failed(error))?.rows_affected())
    }

    fn backend(&self) -> DatabaseBackend {
        self.pool.get_database_backend()
    }

    fn statement(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.backend(), sql, values)
    }

    /// A bound time. SQLite compares text, so all times have six decimals.
    fn time(&self, time: DateTime<Utc>) -> Value {
        match self.backend() {
            DatabaseBackend::Sqlite => time.format(SIX_DECIMALS).to_string().into(),
            _ => time.naive_utc().into(),
        }
    }
}

/// A user's rows; with a strategy, that strategy's and those without one.
fn rows_of(scope: &Scope) -> sea_orm::DeleteMany<cache_entry::Entity> {
    use cache_entry::Column;
    let rows = cache_entry::Entity::delete_many().filter(Column::UserId.eq(scope.user.as_str()));
    rows.apply_if(scope.strategy, |rows, strategy| rows.filter(Column::StrategyKey.is_in([0, strategy.get()])))
}

async fn within<T>(timeout: Duration, asked: impl Future<Output = Result<T, DbErr>>) -> Result<T, TierError> {
    Ok(tokio::time::timeout(timeout, asked).await.map_err(|_| TierError::Timeout)??)
}

#[cfg(test)]
mod tests;
