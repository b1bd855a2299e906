//! The tables of the invalidation log: one counter row, and one row per invalidation.
//!
//! A counter row, not a sequence: transactions that take numbers of a sequence commit out of order, and a reader that
//! polls the log would skip rows. The counter row's lock is held until COMMIT.
//!
//! Invariant: a reader that sees the head at position h sees every row up to h.

use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbErr, IsolationLevel, QueryResult, SqlErr, Statement, TransactionTrait,
    Value,
};

use super::local_copy::LogRow;
use crate::{
    database::Pool,
    fault::{Call, Faults},
    model::{Scope, SectionSet, StrategyId, UserId},
    mutant::{self, Mutant},
};

/// The counter row, and the nonce of the row that the reader applied last.
#[derive(Debug)]
pub(super) struct LogHead {
    pub(super) epoch: Arc<str>,
    pub(super) position: i64,
    pub(super) low_watermark: i64,
    pub(super) lease_ms: i64,
    pub(super) nonce: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct LogTable {
    pool: Pool,
    pub(super) faults: Faults,
}

/// Rows read by one statement.
const PAGE: i64 = 1000;

impl LogTable {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, faults: Faults::here() }
    }

    /// Appends an invalidation of each scope in one durable commit. Returns the last position.
    pub(super) async fn append(&self, scopes: &[Scope]) -> Result<i64, DbErr> {
        let mut transaction = self.begin().await?;
        let count = i64::try_from(scopes.len()).unwrap_or(i64::MAX);
        let advance = self.statement(
            "UPDATE invalidation_log_head SET position = position + $1 WHERE id = 1 RETURNING position",
            vec![count.into()],
        );
        let head: i64 = transaction.query_one_raw(advance).await?.ok_or_else(no_head)?.try_get("", "position")?;
        if mutant::on(Mutant::SequenceForACounter) {
            transaction.commit().await?;
            self.faults.linger(Call::Appending).await;
            transaction = self.begin().await?;
        }

        let mut sql = String::from(
            "INSERT INTO invalidation_log (position, user_id, strategy_id, sections, nonce, created_at) VALUES ",
        );
        let mut values = Vec::with_capacity(scopes.len() * 5);
        for (index, (scope, position)) in scopes.iter().zip(head - count + 1..).enumerate() {
            let first = index * 5;
            sql.push_str(if index == 0 { "(" } else { ", (" });
            for place in 1..=5 {
                sql.push_str(&format!("${}, ", first + place));
            }
            sql.push_str(self.now());
            sql.push(')');
            values.extend([
                position.into(),
                scope.user.as_str().into(),
                scope.strategy.map(StrategyId::get).into(),
                scope.sections.bits().into(),
                rand::random::<i64>().into(),
            ]);
        }
        transaction.execute_raw(self.statement(&sql, values)).await?;
        transaction.commit().await?;
        Ok(head)
    }

    /// Reads the head, and the nonce of the row at `applied`, in one statement.
    pub(super) async fn head(&self, applied: i64) -> Result<LogHead, DbErr> {
        const SQL: &str = "SELECT epoch, position, low_watermark, CAST(lease_ms AS BIGINT) AS lease_ms, \
             (SELECT nonce FROM invalidation_log WHERE position = $1) AS nonce FROM invalidation_log_head WHERE id = 1";
        let asked = self.pool.query_one_raw(self.statement(SQL, vec![applied.into()]));
        let row = self.faults.through(Call::Head, asked).await?.ok_or_else(no_head)?;
        let epoch: String = row.try_get("", "epoch")?;
        Ok(LogHead {
            epoch: epoch.into(),
            position: row.try_get("", "position")?,
            low_watermark: row.try_get("", "low_watermark")?,
            lease_ms: row.try_get("", "lease_ms")?,
            nonce: row.try_get("", "nonce")?,
        })
    }

    /// The existing rows above `after`, up to `head`, in order.
    pub(super) async fn rows(&self, after: i64, head: i64) -> Result<Vec<LogRow>, DbErr> {
        const SQL: &str = "SELECT position, user_id, strategy_id, sections, nonce FROM invalidation_log \
             WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3";
        let mut rows: Vec<LogRow> = Vec::new();
        let mut last = after;
        while last < head {
            let asked = self.statement(SQL, vec![last.into(), head.into(), PAGE.into()]);
            let page = self.faults.through(Call::Rows, self.pool.query_all_raw(asked)).await?;
            let Some(end) = page.last() else { break };
            last = end.try_get("", "position")?;
            for row in &page {
                rows.push(log_row(row)?);
            }
        }
        Ok(rows)
    }

    /// Starts a new epoch in place of `old`, unless another instance has done so. Called when the database has lost
    /// commits: a position of the old epoch may then stand for two different rows.
    pub(super) async fn replace_epoch(&self, old: &str) -> Result<(), DbErr> {
        const REPLACE: &str =
            "UPDATE invalidation_log_head SET epoch = $1, low_watermark = position WHERE id = 1 AND epoch = $2";
        // If only the head went back, the rows above it would block every new row.
        const CLEAR: &str =
            "DELETE FROM invalidation_log WHERE position > (SELECT position FROM invalidation_log_head WHERE id = 1)";
        let new = uuid::Uuid::new_v4().to_string();
        let transaction = self.begin().await?;
        let replaced = transaction.execute_raw(self.statement(REPLACE, vec![new.into(), old.into()])).await?;
        if replaced.rows_affected() > 0 {
            transaction.execute_raw(self.statement(CLEAR, vec![])).await?;
        }
        transaction.commit().await
    }

    /// Deletes rows older than `seconds` and raises the low watermark to the last of them, in one transaction.
    pub(super) async fn trim(&self, seconds: i64) -> Result<u64, DbErr> {
        let before = if self.is_sqlite() {
            format!("(strftime('%Y-%m-%d %H:%M:%f', 'now', '-{seconds} seconds') || '000')")
        } else {
            format!("((now() AT TIME ZONE 'utc') - interval '{seconds} seconds')")
        };
        let transaction = self.begin().await?;
        let raise = format!(
            "UPDATE invalidation_log_head SET low_watermark = (SELECT COALESCE(MAX(CASE WHEN position > invalidation_log_head.low_watermark THEN position END), invalidation_log_head.low_watermark) \
             FROM invalidation_log WHERE created_at < {before}) WHERE id = 1 RETURNING low_watermark"
        );
        let low_watermark: i64 = transaction
            .query_one_raw(self.statement(&raise, vec![]))
            .await?
            .ok_or_else(no_head)?
            .try_get("", "low_watermark")?;
        let deleted = transaction
            .execute_raw(
                self.statement("DELETE FROM invalidation_log WHERE position <= $1", vec![low_watermark.into()]),
            )
            .await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected())
    }

    /// A transaction. Its first statement must update the head: that takes the lock that orders the commits.
    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        // Under a stricter default level the head's update would fail instead of wait.
        let isolation = (!self.is_sqlite()).then_some(IsolationLevel::ReadCommitted);
        self.pool.begin_with_config(isolation, None).await
    }

    fn statement(&self, sql: &str, values: Vec<Value>) -> Statement {
        // SQLite takes numbered placeholders too, as `$1`.
        Statement::from_sql_and_values(self.pool.get_database_backend(), sql, values)
    }

    fn is_sqlite(&self) -> bool {
        self.pool.is_sqlite()
    }

    fn now(&self) -> &'static str {
        if self.is_sqlite() { "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'" } else { "now() AT TIME ZONE 'utc'" }
    }
}

/// Whether a repetition may succeed: after a serialisation failure, a deadlock, or a busy SQLite file.
pub(super) fn is_transient(error: &DbErr) -> bool {
    let text = error.to_string();
    !matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
        && ["40001", "40P01", "database is locked", "(code: 5)"].iter().any(|sign| text.contains(sign))
}

fn no_head() -> DbErr {
    DbErr::RecordNotFound("invalidation_log_head has no row: the database is not migrated".to_owned())
}

fn log_row(row: &QueryResult) -> Result<LogRow, DbErr> {
    let user: String = row.try_get("", "user_id")?;
    let strategy: Option<i64> = row.try_get("", "strategy_id")?;
    Ok(LogRow {
        position: row.try_get("", "position")?,
        user: UserId::parse(&user).map_err(|error| DbErr::Type(format!("invalidation_log.user_id {error}")))?,
        strategy: strategy.and_then(StrategyId::new),
        sections: SectionSet::from_bits(row.try_get("", "sections")?),
        nonce: row.try_get("", "nonce")?,
    })
}
