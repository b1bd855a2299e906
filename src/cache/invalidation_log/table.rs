//! The tables of the invalidation log: one counter row, and one row per invalidation.
//!
//! A counter row, not a sequence: transactions that take numbers of a sequence commit out of order, and a reader that
//! polls the log would skip rows. The counter row's lock is held until COMMIT.
//!
//! Invariant: a reader that sees the head at position h sees every row up to h.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IsolationLevel, QueryFilter, QueryResult, SqlErr,
    TransactionTrait,
    sea_query::{Expr, ExprTrait, Func, InsertStatement, Order, Query, SubQueryStatement},
};

use super::{
    pools::LogPools,
    row::{LogHead, LogRow},
};
use crate::{
    cache::change_feed::{
        round::{FeedHead, Round},
        rounds::Rounds,
    },
    database::{Dialect, Pool, SqlFile, Transaction},
    entity::{
        invalidation,
        invalidation_log_head::{self, Column},
    },
    fault::{FaultPoint, Faults},
    model::{Invalidation, Scope, SectionSet, StrategyId, Token, UserHash},
    mutant::{self, Mutant},
};

#[derive(Clone, Debug)]
pub(super) struct LogTable {
    /// For readings. What was committed is checked by them: over another connection than the one that committed it.
    pub(super) pool: Pool,
    commits: Pool,
    pub(super) dialect: Dialect,
    pub(super) faults: Faults,
}

/// Rows of one insertion. With five parameters each, they stay far below the limits of both databases.
const INSERTED_AT_ONCE: usize = 1000;
/// Rows that one statement deletes: some milliseconds.
const TRIM_BATCH: i64 = 5000;

/// Every poll reads the head, the nonce of the row at a position, and the newest round of the change feed.
const READ_HEAD: SqlFile =
    SqlFile { postgres: include_str!("head.postgres.sql"), sqlite: include_str!("head.sqlite.sql") };

impl LogTable {
    pub(super) fn new(LogPools { reads: pool, commits }: LogPools) -> Self {
        Self { dialect: Dialect::of(&pool), pool, commits, faults: Faults::here() }
    }

    /// The rounds of the change feed. None in SQLite.
    pub(super) fn rounds(&self) -> Option<Rounds> {
        Rounds::of(&self.pool)
    }

    /// Appends the entries in one durable commit. Returns the last position, and the epoch that it belongs to.
    pub(super) async fn append(&self, entries: &[Invalidation]) -> Result<Token, DbErr> {
        let transaction = self.begin().await?;
        if mutant::on(Mutant::SequenceForACounter) {
            let last = self.take_positions(&transaction, entries).await?;
            transaction.commit().await?;
            self.faults.linger(FaultPoint::Appending).await;
            let transaction = self.begin().await?;
            self.insert_up_to(&transaction, entries, last.position).await?;
            transaction.commit().await?;
            return Ok(last);
        }
        let last = self.insert(&transaction, entries).await?;
        self.commit(transaction).await?;
        Ok(last)
    }

    /// Inserts the entries at the next positions. Returns the last one.
    pub(super) async fn insert(&self, transaction: &Transaction, entries: &[Invalidation]) -> Result<Token, DbErr> {
        let last = self.take_positions(transaction, entries).await?;
        self.insert_up_to(transaction, entries, last.position).await?;
        Ok(last)
    }

    /// Raises the head by so many entries, which takes the lock that orders commits. Returns the last of their positions.
    async fn take_positions(&self, transaction: &Transaction, entries: &[Invalidation]) -> Result<Token, DbErr> {
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let raised = Expr::col(Column::Position).add(count);
        let (epoch, position) = self.set_head(transaction, Column::Position, raised).await?;
        Ok(Token { epoch, position })
    }

    async fn insert_up_to(&self, transaction: &Transaction, entries: &[Invalidation], last: i64) -> Result<(), DbErr> {
        let mut first = last + 1 - i64::try_from(entries.len()).unwrap_or(i64::MAX);
        for some in entries.chunks(INSERTED_AT_ONCE) {
            transaction.execute_raw(self.dialect.build(&insertion(some, first))).await?;
            first += i64::try_from(some.len()).unwrap_or(i64::MAX);
        }
        Ok(())
    }

    pub(super) async fn commit(&self, transaction: Transaction) -> Result<(), DbErr> {
        if self.faults.lose(FaultPoint::CommitEndsByItself).await {
            transaction.execute_unprepared("ROLLBACK").await?;
            return Err(DbErr::Custom("broken by a test: (code: 13) database or disk is full".to_owned()));
        }
        self.faults.through(FaultPoint::Commit, transaction.commit()).await
    }

    /// Changes a column of the head, which takes the lock that orders commits. Returns the epoch and the column's new value.
    async fn set_head(&self, transaction: &Transaction, column: Column, value: Expr) -> Result<(Arc<str>, i64), DbErr> {
        let update = Query::update()
            .table(invalidation_log_head::Entity)
            .value(column, value)
            .and_where(Column::Id.eq(invalidation_log_head::ID))
            .returning(Query::returning().columns([Column::Epoch, column]))
            .to_owned();
        let row = transaction.query_one_raw(self.dialect.build(&update)).await?.ok_or_else(no_head)?;
        let (epoch, value): (String, i64) = row.try_get_many_by_index()?;
        Ok((epoch.into(), value))
    }

    /// Reads the head, the nonce of the row at `applied`, and the newest round of the change feed, in one statement.
    pub(super) async fn head(&self, applied: i64) -> Result<LogHead, DbErr> {
        self.faults.through(FaultPoint::Head, self.read_head(applied)).await
    }

    async fn read_head(&self, applied: i64) -> Result<LogHead, DbErr> {
        let row = self.pool.query_one_raw(self.dialect.file(READ_HEAD, [applied.into()])).await?.ok_or_else(no_head)?;
        let lease_ms: i32 = row.try_get_by("lease_ms")?;
        let epoch: String = row.try_get_by("epoch")?;
        Ok(LogHead {
            epoch: epoch.into(),
            position: row.try_get_by("position")?,
            low_watermark: row.try_get_by("low_watermark")?,
            lease_ms: lease_ms.into(),
            nonce: nonce_of(&row),
            feed: FeedHead { is_registered: row.try_get_by("is_registered")?, newest: newest_round(&row)? },
        })
    }

    /// The existing rows above `after`, up to `end`, in order.
    pub(super) async fn rows(&self, after: i64, end: i64) -> Result<Vec<LogRow>, DbErr> {
        use invalidation::Column;
        if after >= end {
            return Ok(Vec::new());
        }
        let rows = Query::select()
            .columns([Column::Position, Column::UserHash, Column::StrategyId, Column::Sections, Column::Nonce])
            .from(invalidation::Entity)
            .and_where(Expr::col(Column::Position).gt(after))
            .and_where(Expr::col(Column::Position).lte(end))
            .order_by(Column::Position, Order::Asc)
            .to_owned();
        let rows = self.pool.query_all_raw(self.dialect.build(&rows));
        let rows = self.faults.through(FaultPoint::Rows, rows).await?;
        rows.iter().map(log_row).collect()
    }

    /// Starts a new epoch in place of `old`, unless another instance has done so. Called when the database has lost
    /// commits: a position of the old epoch may then stand for two different rows. Returns the epoch that now is, which
    /// began after this call.
    pub(super) async fn replace_epoch(&self, old: &str) -> Result<Arc<str>, DbErr> {
        let transaction = self.begin().await?;
        let replaced = invalidation_log_head::Entity::update_many()
            .col_expr(Column::Epoch, uuid::Uuid::new_v4().to_string().into())
            .col_expr(Column::LowWatermark, Expr::col(Column::Position))
            .filter(Column::Epoch.eq(old))
            .exec(&transaction)
            .await?;
        if replaced.rows_affected > 0 {
            // If only the head went back, the rows above it would block every new row.
            let head = Query::select().column(Column::Position).from(invalidation_log_head::Entity).to_owned();
            let lost = Expr::col(invalidation::Column::Position).gt(Expr::from(SubQueryStatement::from(head)));
            invalidation::Entity::delete_many().filter(lost).exec(&transaction).await?;
        }
        let epoch = Query::select().column(Column::Epoch).from(invalidation_log_head::Entity).to_owned();
        let row = transaction.query_one_raw(self.dialect.build(&epoch)).await?.ok_or_else(no_head)?;
        let epoch: String = row.try_get_by_index(0)?;
        transaction.commit().await?;
        Ok(epoch.into())
    }

    /// Deletes rows older than `seconds`, in two runs: one raises the low watermark to the last of them, the next one
    /// deletes what is below it. So a reader that has read the head before does not find a gap. Returns how many.
    pub(super) async fn trim(&self, seconds: i64) -> Result<u64, DbErr> {
        let head = self.read_head(0).await?;
        let deleted = self.delete_up_to(head.low_watermark).await?;
        let last = self.last_older_than(seconds, &head).await?;
        if last > head.low_watermark {
            let raised = Func::greatest([Expr::col(Column::LowWatermark), last.into()]);
            let transaction = self.begin().await?;
            self.set_head(&transaction, Column::LowWatermark, raised.into()).await?;
            transaction.commit().await?;
        }
        Ok(deleted)
    }

    /// Deletes the rows up to a position, in batches. It does not take the lock that orders commits.
    async fn delete_up_to(&self, end: i64) -> Result<u64, DbErr> {
        use invalidation::Column;
        let first = Query::select()
            .expr(Expr::col(Column::Position).min())
            .from(invalidation::Entity)
            .and_where(Expr::col(Column::Position).lte(end))
            .to_owned();
        let first = self.commits.query_one_raw(self.dialect.build(&first)).await?;
        let first: Option<i64> = first.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
        let (mut after, mut deleted) = (first.map_or(end, |first| first - 1), 0);
        while after < end {
            let last = Ord::min(end, after.saturating_add(TRIM_BATCH));
            let batch = invalidation::Entity::delete_many()
                .filter(Column::Position.gt(after))
                .filter(Column::Position.lte(last))
                .exec(&self.commits)
                .await?;
            deleted += batch.rows_affected;
            after = last;
        }
        Ok(deleted)
    }

    /// The position of the last row that is older than `seconds`; the low watermark if there is none. Times ascend with
    /// positions, so it looks at some twenty rows.
    async fn last_older_than(&self, seconds: i64, head: &LogHead) -> Result<i64, DbErr> {
        let (mut older, mut end) = (head.low_watermark, head.position);
        while older < end {
            let middle = older + (end - older + 1) / 2;
            let before = self.dialect.now_plus_micros(seconds.saturating_mul(-1_000_000));
            let is_older = Query::select()
                .expr(Expr::col(invalidation::Column::CreatedAt).lt(before))
                .from(invalidation::Entity)
                .and_where(Expr::col(invalidation::Column::Position).eq(middle))
                .to_owned();
            let row = self.pool.query_one_raw(self.dialect.build(&is_older)).await?;
            match row.map(|row| row.try_get_by_index(0)).transpose()? {
                Some(true) => older = middle,
                _ => end = middle - 1,
            }
        }
        Ok(older)
    }

    /// A transaction. Its first statement must update the head: that takes the lock that orders the commits.
    pub(super) async fn begin(&self) -> Result<Transaction, DbErr> {
        // Under a stricter default level the head's update would fail instead of wait.
        let isolation = (!self.dialect.is_sqlite()).then_some(IsolationLevel::ReadCommitted);
        self.commits.begin_with_config(isolation, None).await
    }
}

/// The rows of the entries, at the positions from `first` on.
fn insertion(entries: &[Invalidation], first: i64) -> InsertStatement {
    use invalidation::Column;
    let mut insert = Query::insert();
    insert.into_table(invalidation::Entity).columns([
        Column::Position,
        Column::UserHash,
        Column::StrategyId,
        Column::Sections,
        Column::Nonce,
    ]);
    for (entry, position) in entries.iter().zip(first..) {
        let (user, strategy, sections) = match entry {
            Invalidation::Of(Scope { user, strategy, sections }) => (Some(user.column()), *strategy, sections),
            Invalidation::OfEveryone(sections) => (None, None, sections),
        };
        insert.values_panic([
            position.into(),
            user.into(),
            strategy.map(StrategyId::get).into(),
            sections.bits().into(),
            rand::random::<i64>().into(),
        ]);
    }
    insert
}

/// Whether a repetition may succeed: after a serialisation failure, a deadlock, a wait for a lock that was too long, a pause
/// of this process that was too long for the server, or a busy SQLite file.
pub(super) fn is_transient(error: &DbErr) -> bool {
    const SIGNS: [&str; 6] =
        ["40001", "40P01", "statement timeout", "idle-in-transaction", "database is locked", "(code: 5)"];
    let text = error.to_string();
    !matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
        && SIGNS.iter().any(|sign| text.contains(sign))
}

fn newest_round(row: &QueryResult) -> Result<Option<Round>, DbErr> {
    let Some(number) = row.try_get_by::<Option<i64>, _>("round")? else { return Ok(None) };
    Ok(Some(Round {
        number,
        holder: row.try_get_by("holder")?,
        completed: row.try_get_by("completed")?,
        birth: row.try_get_by("birth")?,
        unwatched: SectionSet::from_bits(row.try_get_by("unwatched")?),
    }))
}

fn no_head() -> DbErr {
    DbErr::RecordNotFound("invalidation_log_head has no row: the database is not migrated".to_owned())
}

/// An entry. One that cannot be read counts as an invalidation of everything: it may be one of anything.
fn log_row(row: &QueryResult) -> Result<LogRow, DbErr> {
    let position = row.try_get_by("position")?;
    let invalidation = invalidation(row).unwrap_or_else(|error| {
        tracing::error!(position, %error, "invalidation log has an unreadable row; everything read before it counts as outdated");
        Invalidation::OfEveryone(SectionSet::ALL)
    });
    Ok(LogRow { position, invalidation, nonce: nonce_of(row).unwrap_or_default() })
}

fn invalidation(row: &QueryResult) -> Result<Invalidation, DbErr> {
    let sections = SectionSet::from_bits(row.try_get_by("sections")?);
    let Some(user) = row.try_get_by::<Option<i64>, _>("user_hash")? else {
        return Ok(Invalidation::OfEveryone(sections));
    };
    let user = UserHash::from_column(user);
    let strategy: Option<i64> = row.try_get_by("strategy_id")?;
    Ok(Invalidation::Of(Scope { user, strategy: strategy.and_then(StrategyId::new), sections }))
}

/// None if there is no such row. SQLite accepts values of any type in any column; one of another type is no nonce.
fn nonce_of(row: &QueryResult) -> Option<i64> {
    row.try_get_by("nonce").ok().flatten()
}
