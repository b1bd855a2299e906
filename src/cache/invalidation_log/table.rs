//! The durable invalidation log: one counter row whose lock orders the commits, and one row per fence.
//!
//! A counter row, not a sequence: sequences commit out of order, and a reader that polls one would
//! skip rows. The row's lock is held until COMMIT, so whoever sees head = h sees every row up to h.

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

/// The head of the log, and the nonce at the position that the reader stands at.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) epoch: Arc<str>,
    pub(super) position: i64,
    pub(super) low_watermark: i64,
    pub(super) lease_ms: i64,
    pub(super) nonce: Option<i64>,
}

/// The log's tables.
#[derive(Clone, Debug)]
pub(super) struct LogTable {
    pool: Pool,
    pub(super) faults: Faults,
}

/// Rows read at once when catching up.
const PAGE: i64 = 1000;

impl LogTable {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, faults: Faults::here() }
    }

    /// Appends a fence for each scope in one durable commit and returns the last one's position.
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
    pub(super) async fn head(&self, applied: i64) -> Result<Head, DbErr> {
        const SQL: &str = "SELECT epoch, position, low_watermark, CAST(lease_ms AS BIGINT) AS lease_ms, \
             (SELECT nonce FROM invalidation_log WHERE position = $1) AS nonce FROM invalidation_log_head WHERE id = 1";
        let asked = self.pool.query_one_raw(self.statement(SQL, vec![applied.into()]));
        let row = self.faults.through(Call::Head, asked).await?.ok_or_else(no_head)?;
        let epoch: String = row.try_get("", "epoch")?;
        Ok(Head {
            epoch: epoch.into(),
            position: row.try_get("", "position")?,
            low_watermark: row.try_get("", "low_watermark")?,
            lease_ms: row.try_get("", "lease_ms")?,
            nonce: row.try_get("", "nonce")?,
        })
    }

    /// The rows in (`after`, `head`], in order, as far as they are there.
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

    /// Starts a new epoch, unless somebody else has done so already: the database has lost
    /// commits that were seen, so nothing tagged with its positions means anything any more.
    pub(super) async fn replace_epoch(&self, old: &str) -> Result<(), DbErr> {
        const REPLACE: &str =
            "UPDATE invalidation_log_head SET epoch = $1, low_watermark = position WHERE id = 1 AND epoch = $2";
        // Where only the head went back, the lost log's rows would be in the way of every new fence.
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

    /// Deletes fences older than `seconds` and raises the floor over them, in one transaction.
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

    /// A transaction whose first statement writes the head, and so takes the lock that orders commits.
    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        // Said explicitly: under a stricter default the head's update would fail instead of wait.
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

/// Whether repeating the transaction may help: serialisation failure, deadlock, or a busy SQLite file.
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
