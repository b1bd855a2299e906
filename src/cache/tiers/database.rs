//! The database tier: one row per snapshot, as JSON, with columns for the statistics and the sweep.
//!
//! This tier does not judge validity: it returns rows with their read positions and epoch, expired ones too. Only reads
//! and probes move the circuit breaker: on SQLite a busy writer says nothing about reads. Statements that delete or count
//! run in the background or for an operator, with a timeout of their own.

mod accesses;
pub(crate) mod row;
mod statements;

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryOrder, QuerySelect, Statement, sea_query::Expr};

use self::{
    accesses::{Accessed, AccessedRow},
    row::{EncryptedRow, RowContent, StoredRow},
    statements::Statements,
};
use super::{encrypted_record, error::TierError, guard::TierGuard, tier_metrics::WriteOutcome};
use crate::{
    clock::Clock,
    config,
    database::{self, Dialect, Pool, Reach},
    entity::cache_entry,
    fault::{FaultPoint, Faults},
    model::{CacheKey, Scope, Snapshot, StrategyId, Tier, UserId},
    privacy::{UserKey, UserKeys},
    proto::v1::AccessedEntry,
    sync::Mutex,
    telemetry::Meter,
};

/// For statements without a waiting request.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// Before SQLite's write-ahead log is tried to be emptied again: a reader needed it.
const JOURNAL_PAUSE: Duration = Duration::from_millis(50);
/// AI responses have the time of the instance that stores them. No clock is as wrong as this.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);
/// Rows per statement in the search for queries without parameters.
const WARMABLE_PAGE: u64 = 500;
/// Rows in all: further ones are rarely accessed.
const WARMABLE_ROWS_MAX: u64 = 10_000;

#[derive(Debug)]
pub struct DatabaseTier {
    pool: Pool,
    statements: Statements,
    timeout: Duration,
    sweep_batch: u64,
    /// None: rows are in clear.
    encryption: Option<Arc<UserKeys>>,
    /// AI responses in clear that were stored before this are deleted, if values are encrypted. None: none are yet.
    encrypted_until: Mutex<Option<DateTime<Utc>>>,
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
    pub fn new(pool: Pool, config: &config::DatabaseSettings, clock: Clock) -> Self {
        Self {
            statements: Statements::new(Dialect::of(&pool)),
            pool,
            timeout: config.timeout,
            sweep_batch: config.sweep_batch,
            encryption: None,
            encrypted_until: Mutex::new(None),
            guard: TierGuard::new(Tier::Database, clock.clone()),
            reach: Reach::default(),
            faults: Faults::here(),
            clock,
        }
    }

    /// Records each lookup with `meter`.
    #[must_use]
    pub fn with_metrics(self, meter: &Meter) -> Self {
        Self { guard: self.guard.with_metrics(meter), ..self }
    }

    /// Encrypts rows by their users' keys.
    #[must_use]
    pub fn encrypted_by(self, encryption: Option<Arc<UserKeys>>) -> Self {
        Self { encryption, ..self }
    }

    /// The stored snapshot, valid or not, expired or not. One statement.
    pub async fn get(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        self.guard.lookup(self.look_up(key)).await
    }

    async fn look_up(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        let read = self.statements.read(key);
        // Order: before the query, or the snapshot would live longer by the round trip.
        let asked_at = self.clock.utc();
        let row = within(self.timeout, self.faults.through(FaultPoint::Row, self.pool.query_one_raw(read))).await;
        self.learn(&row);
        let Some(row) = row? else { return Ok(None) };
        match &self.encryption {
            None => StoredRow::read(&row)?.into_snapshot(key, asked_at).map(Some),
            Some(keys) => {
                let row = EncryptedRow::read(&row)?;
                let snapshot = encrypted_record::from_row(&row.document, key, keys).await?;
                row.expiring(&snapshot, asked_at).map(Some)
            }
        }
    }

    /// A condition: the key has a row that `get` can serve. It is evaluated in the statement that takes a lease.
    #[must_use]
    pub fn is_stored(&self, key: &CacheKey, last_invalidation: i64) -> Expr {
        self.statements.is_stored(key, last_invalidation, RowContent::format(self.encryption.is_some()))
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
    /// A row below the position of the scope's last invalidation counts as invalid. Encrypted if there is a key.
    pub async fn put_by(
        &self,
        key: Option<&UserKey>,
        snapshot: &Snapshot,
        last_invalidation: i64,
    ) -> Result<(), TierError> {
        let written = self.try_put(key, snapshot, last_invalidation).await;
        self.guard.metrics.wrote(WriteOutcome::of(&written));
        written
    }

    async fn try_put(
        &self,
        key: Option<&UserKey>,
        snapshot: &Snapshot,
        last_invalidation: i64,
    ) -> Result<(), TierError> {
        self.guard.admit()?;
        let life = (snapshot.expires_at - self.clock.utc()).num_microseconds().unwrap_or(i64::MAX);
        let content = match key {
            None => RowContent::in_clear(snapshot)?,
            Some(key) => RowContent::encrypted(encrypted_record::to_row(snapshot, key)),
        };
        let upsert = self.statements.upsert(snapshot, content, life, last_invalidation);
        self.write(upsert, BACKGROUND_TIMEOUT).await.map(|_| ())
    }

    /// Drops the scope's documents that the invalidation at `below` has outdated. Returns how many. Ignores the scope's
    /// sections: documents are dropped as a whole. Their rows go on counting accesses: what is often asked for is
    /// often asked for again.
    pub async fn remove(&self, scope: &Scope, below: i64) -> Result<u64, TierError> {
        self.guard.admit()?;
        self.write(self.statements.empty(scope, below), self.timeout).await
    }

    /// Deletes the scope's rows and the user's AI responses. Returns how many rows. Ignores the circuit breaker, because a
    /// purge has to be attempted. What is erased stays erased after a failover to the standby.
    pub async fn purge(&self, scope: &Scope) -> Result<u64, TierError> {
        let delete = async || {
            let transaction = self.pool.begin_durable().await?;
            let rows = transaction.execute_raw(self.statements.delete(scope)).await?;
            transaction.execute_raw(self.statements.delete_ai_responses(&scope.user)).await?;
            transaction.commit().await?;
            Ok(rows.rows_affected())
        };
        let rows = self.repeat(|| within(BACKGROUND_TIMEOUT, self.faults.through(FaultPoint::Row, delete()))).await?;
        let emptied = async {
            while !database::empty_journal(&self.pool).await? {
                tokio::time::sleep(JOURNAL_PAUSE).await;
            }
            Ok(())
        };
        within(BACKGROUND_TIMEOUT, emptied).await?;
        Ok(rows)
    }

    /// Deletes expired rows created longer ago than `older_than`, in batches, and what is in clear if rows are encrypted,
    /// AI responses included.
    /// Returns how many.
    pub async fn sweep(&self, older_than: Duration, batch: u64) -> Result<u64, TierError> {
        let expired = self.delete_expired(Some(older_than), None, batch).await?;
        Ok(expired + self.delete_in_clear(batch).await?)
    }

    /// Each time, because instances that do not encrypt yet write further ones. Rows in clear have an index, AI responses
    /// one by their last use: only the first time, all of them are read.
    async fn delete_in_clear(&self, batch: u64) -> Result<u64, TierError> {
        if self.encryption.is_none() {
            return Ok(0);
        }
        let (since, began) = (*self.encrypted_until.lock(), self.clock.utc());
        let mut deleted = 0;
        loop {
            let rows = self.write(self.statements.delete_in_clear(batch), BACKGROUND_TIMEOUT).await?;
            let responses = self.statements.delete_ai_responses_in_clear(since, batch);
            let responses = self.write(responses, BACKGROUND_TIMEOUT).await?;
            deleted += rows + responses;
            if rows.max(responses) < batch {
                break;
            }
        }
        *self.encrypted_until.lock() = Some(began - CLOCKS_APART);
        Ok(deleted)
    }

    /// Deletes expired rows, at most `limit` or all, in batches. Returns how many.
    pub async fn cleanup(&self, limit: Option<u64>) -> Result<u64, TierError> {
        self.delete_expired(None, limit, self.sweep_batch).await
    }

    async fn delete_expired(&self, age: Option<Duration>, limit: Option<u64>, batch: u64) -> Result<u64, TierError> {
        let mut deleted = 0;
        loop {
            let rows = batch.min(limit.map_or(u64::MAX, |limit| limit - deleted));
            if rows == 0 {
                return Ok(deleted);
            }
            let gone = self.write(self.statements.delete_expired(age, rows), BACKGROUND_TIMEOUT).await?;
            deleted += gone;
            if gone < rows {
                return Ok(deleted);
            }
        }
    }

    pub async fn counts(&self) -> Result<RowCounts, TierError> {
        let read = async {
            let row = self.pool.query_one_raw(self.statements.counts()).await?;
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
        self.write(self.statements.add_accesses(&rows), BACKGROUND_TIMEOUT).await.map(|_| ())
    }

    /// Probes an open circuit if the pause is over.
    pub async fn probe(&self) {
        if !self.guard.breaker.start_probe() {
            return;
        }
        let probe = self.pool.query_one_raw(self.statements.dialect.statement("SELECT 1", []));
        let answer = within(self.timeout, self.faults.through(FaultPoint::Row, probe)).await;
        self.learn(&answer);
    }

    /// Runs a statement that changes rows. Returns how many.
    async fn write(&self, statement: Statement, timeout: Duration) -> Result<u64, TierError> {
        let execute = || self.faults.through(FaultPoint::Row, self.pool.execute_raw(statement.clone()));
        Ok(self.repeat(|| within(timeout, execute())).await?.rows_affected())
    }

    /// Repeats a write while another one keeps SQLite's file busy.
    async fn repeat<T, F>(&self, write: impl FnMut() -> F) -> Result<T, TierError>
    where
        F: Future<Output = Result<T, TierError>>,
    {
        let busy = |error: &TierError| matches!(error, TierError::Database(error) if database::is_busy(error));
        database::repeat_while(busy, write).await.inspect_err(|error| self.guard.metrics.failed(error))
    }
}

async fn within<T>(timeout: Duration, asked: impl Future<Output = Result<T, DbErr>>) -> Result<T, TierError> {
    Ok(tokio::time::timeout(timeout, asked).await.map_err(|_| TierError::Timeout)??)
}

#[cfg(test)]
mod tests;
