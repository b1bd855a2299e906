//! The outbox, as the relay reads it.
//!
//! Rows are deleted by their ids, only those that were read: a writer that commits late may bring a row
//! with a lower id than those already gone.

use std::{collections::HashMap, time::Duration};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, FromQueryResult,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait, TransactionTrait,
    sea_query::{Asterisk, Expr, ExprTrait, LockBehavior, LockType},
};

use super::install::OUTBOX;
use crate::{
    database::{Dialect, Pool, is_busy, repeat_while},
    entity::outbox_entry::{self, Column},
    model::{Scope, SectionSet, StrategyId, UserId},
};

/// The table, in the database of the sources.
#[derive(Clone, Debug)]
pub struct Outbox {
    pool: Pool,
}

/// The rows that wait in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many rows.
    pub rows: i64,
    /// The age of the oldest, by the database's clock.
    pub age: Duration,
}

/// The waiting rows; none if there is no outbox. Changes nothing.
pub async fn waiting(db: &DatabaseConnection) -> Result<Option<Waiting>, DbErr> {
    if userdata_migrations::columns_of(db, OUTBOX).await?.is_empty() {
        return Ok(None);
    }
    let dialect = Dialect::of(db);
    let waiting = outbox_entry::Entity::find()
        .select_only()
        .expr(Expr::col(Asterisk).count())
        .expr(dialect.micros_until(Column::CreatedAt.min()))
        .into_tuple::<(i64, Option<i64>)>();
    let (rows, oldest) = waiting.one(db).await?.unwrap_or_default();
    Ok(Some(Waiting { rows, age: age(oldest.unwrap_or_default()) }))
}

/// An age from the microseconds until the time of writing, which are negative.
fn age(micros_until: i64) -> Duration {
    Duration::from_micros(micros_until.saturating_neg().try_into().unwrap_or_default())
}

#[derive(FromQueryResult)]
struct OutboxRow {
    id: i64,
    user_id: String,
    strategy_id: Option<i64>,
    sections: i64,
    micros_until_created: i64,
}

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
        let count = outbox_entry::Entity::find().select_only().expr(Expr::col(Asterisk).count());
        Ok(count.into_tuple().one(&self.pool).await?.unwrap_or_default())
    }

    /// The oldest rows that no other instance has locked, at most `rows_max`; none if the outbox is empty.
    pub async fn read(&self, rows_max: u64) -> Result<Option<Batch>, DbErr> {
        // The outbox is nearly always empty, which one small statement shows.
        let any = outbox_entry::Entity::find().select_only().column(Column::Id).into_tuple::<i64>();
        if any.one(&self.pool).await?.is_none() {
            return Ok(None);
        }
        let dialect = Dialect::of(&self.pool);
        // SQLite locks no rows: another instance that moves the same ones appends the same invalidations, which is harmless.
        let oldest = outbox_entry::Entity::find()
            .select_only()
            .columns([Column::Id, Column::UserId, Column::StrategyId, Column::Sections])
            .expr_as(dialect.micros_until(Expr::col(Column::CreatedAt)), "micros_until_created")
            .order_by_asc(Column::Id)
            .limit(rows_max)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .into_model();
        if dialect.is_sqlite() {
            return Ok(Batch::of(oldest.all(&self.pool).await?, self.pool.clone(), None));
        }
        let transaction = self.pool.begin().await?;
        let rows = oldest.all(&transaction).await?;
        Ok(Batch::of(rows, self.pool.clone(), Some(transaction)))
    }
}

impl Batch {
    fn of(rows: Vec<OutboxRow>, pool: Pool, transaction: Option<DatabaseTransaction>) -> Option<Self> {
        let oldest = rows.iter().map(|row| row.micros_until_created).min()?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut sections: HashMap<(String, Option<i64>), i64> = HashMap::new();
        for row in rows {
            *sections.entry((row.user_id, row.strategy_id)).or_default() |= row.sections;
        }
        let scopes = sections.into_iter().filter_map(scope).collect();
        Some(Self { rows: ids.len(), age: age(oldest), scopes, ids, pool, transaction })
    }

    /// Deletes the rows. Only after their invalidations are durable: a change lost here would be served outdated. Safe to
    /// repeat.
    pub async fn delete(&mut self) -> Result<(), DbErr> {
        let rows = outbox_entry::Entity::delete_many().filter(Column::Id.is_in(self.ids.iter().copied()));
        // As text with its values: a prepared statement for each number of ids would be of no use again.
        let sql = rows.build(self.pool.get_database_backend()).to_string();
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

/// A user id that no request can name needs no invalidation.
fn scope(((user, strategy), bits): ((String, Option<i64>), i64)) -> Option<Scope> {
    let user = UserId::parse(&user).ok()?;
    // No request can name this strategy, but the document without a strategy may be about it.
    let strategy = strategy.and_then(StrategyId::new);
    Some(Scope { user, strategy, sections: SectionSet::from_bits(bits) })
}
