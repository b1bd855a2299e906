//! The statements on the cache table. The two that loads send are built once; their values follow their numbered
//! placeholders. Times are the database's own, so that instances with clocks of their own agree on what has expired.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Statement,
    sea_query::{
        Asterisk, Condition, Expr, ExprTrait, Func, InsertStatement, LockBehavior, LockType, OnConflict, Order, Query,
        SelectStatement,
    },
};

use super::{
    accesses::AccessedRow,
    row::{self, RowContent, strategy_key},
};
use crate::{
    database::{Dialect, SqlFile, parameter},
    entity::{
        ai_response,
        cache_entry::{Column, Entity},
    },
    model::{CacheKey, Scope, Snapshot, StrategyId, UserId},
    privacy::SEALED_PREFIX,
};

/// Adds a JSON array of [`AccessedRow`]s to their rows.
const ADD_ACCESSES: SqlFile =
    SqlFile { postgres: include_str!("add_accesses.postgres.sql"), sqlite: include_str!("add_accesses.sqlite.sql") };

const A_DAY_MICROS: &str = "86400000000";

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) dialect: Dialect,
    read: String,
    upsert: String,
}

impl Statements {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, read: dialect.text(&read(dialect)), upsert: dialect.text(&upsert(dialect)) }
    }

    /// The row of a key, with the microseconds until it expires.
    pub(super) fn read(&self, key: &CacheKey) -> Statement {
        let values = [key.user.as_str().into(), strategy_key(key.strategy).into(), key.hash.to_string().into()];
        self.dialect.statement(&self.read, values)
    }

    /// Stores a snapshot for `life_micros`, unless [`replaces`] forbids it.
    pub(super) fn upsert(
        &self,
        snapshot: &Snapshot,
        content: RowContent,
        life_micros: i64,
        last_invalidation: i64,
    ) -> Statement {
        let key = &snapshot.key;
        let values = [
            key.user.as_str().into(),
            strategy_key(key.strategy).into(),
            key.hash.to_string().into(),
            key.strategy.map(StrategyId::get).into(),
            content.document.into(),
            content.sections.into(),
            snapshot.read_position_max().into(),
            self.dialect.time(snapshot.as_of),
            snapshot.epoch.to_string().into(),
            snapshot.complete().into(),
            content.format.into(),
            life_micros.into(),
            last_invalidation.into(),
        ];
        self.dialect.statement(&self.upsert, values)
    }

    /// Whether a key has a row of this format that is fresh and was read no earlier than `last_invalidation`.
    pub(super) fn is_stored(&self, key: &CacheKey, last_invalidation: i64, format: i32) -> Expr {
        let row = Entity::find()
            .select_only()
            .expr(Expr::cust("1"))
            .filter(Column::UserId.eq(key.user.as_str()))
            .filter(Column::StrategyKey.eq(strategy_key(key.strategy)))
            .filter(Column::DataHash.eq(key.hash.to_string()))
            .filter(Column::Format.eq(format))
            .filter(Column::ReadPosition.gte(last_invalidation))
            .filter(Expr::col(Column::ExpiresAt).gt(self.dialect.now()));
        Expr::exists(row.into_query())
    }

    /// Deletes a user's rows; with a strategy, that strategy's and those without one.
    pub(super) fn delete(&self, scope: &Scope) -> Statement {
        Entity::delete_many().filter(in_scope(scope)).build(self.dialect.backend())
    }

    /// Drops the documents of the scope's rows that were read below a position. The rows keep their accesses, and are swept
    /// as if they had been stored and had expired now.
    pub(super) fn empty(&self, scope: &Scope, read_below: i64) -> Statement {
        let empty = |text: &str| self.dialect.json(Expr::value(text));
        Entity::update_many()
            .col_expr(Column::ComprehensiveData, empty("{}"))
            .col_expr(Column::Sections, empty("[]"))
            .col_expr(Column::Format, Expr::value(row::COUNTS_ONLY))
            .col_expr(Column::CreatedAt, self.dialect.now())
            .col_expr(Column::ExpiresAt, self.dialect.now())
            .filter(in_scope(scope))
            .filter(Column::ReadPosition.lt(read_below))
            .filter(has_document())
            .build(self.dialect.backend())
    }

    /// Deletes the AI responses that a user's loads have caused.
    pub(super) fn delete_ai_responses(&self, user: &UserId) -> Statement {
        let theirs = ai_response::Column::UserId.eq(user.as_str());
        ai_response::Entity::delete_many().filter(theirs).build(self.dialect.backend())
    }

    /// Deletes expired rows, with an age only those created so long ago; without, none that only counts accesses. Rows that
    /// another instance deletes are skipped.
    pub(super) fn delete_expired(&self, age: Option<Duration>, rows_max: u64) -> Statement {
        let micros = |age: Duration| i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let expired = Query::select()
            .column(Column::Id)
            .from(Entity)
            .and_where(Expr::col(Column::ExpiresAt).lte(self.dialect.now()))
            .and_where_option(
                age.map(|age| Expr::col(Column::CreatedAt).lte(self.dialect.now_plus_micros(-micros(age)))),
            )
            .and_where_option(age.is_none().then(has_document))
            .order_by(Column::ExpiresAt, Order::Asc)
            .limit(rows_max)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .to_owned();
        Entity::delete_many().filter(Column::Id.in_subquery(expired)).build(self.dialect.backend())
    }

    /// Deletes rows whose document is in clear. The format is a part of the text: only then the index of these rows is used.
    pub(super) fn delete_in_clear(&self, rows_max: u64) -> Statement {
        let in_clear = Query::select()
            .column(Column::Id)
            .from(Entity)
            .and_where(Expr::col(Column::Format).eq(Expr::cust(row::IN_CLEAR.to_string())))
            .limit(rows_max)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .to_owned();
        Entity::delete_many().filter(Column::Id.in_subquery(in_clear)).build(self.dialect.backend())
    }

    /// Deletes AI responses in clear that were used since then, except what says that one could not be used.
    pub(super) fn delete_ai_responses_in_clear(&self, since: Option<DateTime<Utc>>, rows_max: u64) -> Statement {
        use ai_response::{Column, Entity};
        let in_clear = Query::select()
            .column(Column::RequestHash)
            .from(Entity)
            .and_where_option(since.map(|since| Expr::col(Column::LastUsedAt).gte(since.naive_utc())))
            .and_where(Expr::col(Column::Model).ne(""))
            .and_where(Expr::col(Column::Response).cast_as("TEXT").not_like(format!("{SEALED_PREFIX}%")))
            .limit(rows_max)
            .to_owned();
        Entity::delete_many().filter(Column::RequestHash.in_subquery(in_clear)).build(self.dialect.backend())
    }

    /// How many rows there are, and how many of them have expired.
    pub(super) fn counts(&self) -> Statement {
        let expired = Expr::case(Expr::col(Column::ExpiresAt).lte(self.dialect.now()), 1);
        let counts = Query::select()
            .expr_as(Expr::col(Asterisk).count(), "total")
            .expr_as(Func::count(expired), "expired")
            .from(Entity)
            .and_where(has_document())
            .to_owned();
        self.dialect.build(&counts)
    }

    /// Adds accesses to their rows. Keys without a row are skipped.
    pub(super) fn add_accesses(&self, accesses: &[AccessedRow<'_>]) -> Statement {
        let rows = serde_json::to_string(accesses).expect("texts and integers have a JSON form");
        self.dialect.file(ADD_ACCESSES, [rows.into()])
    }
}

/// A user's rows; with a strategy, that strategy's and those without one.
fn in_scope(scope: &Scope) -> Condition {
    Condition::all()
        .add(Column::UserId.eq(scope.user.as_str()))
        .add_option(scope.strategy.map(|strategy| Column::StrategyKey.is_in([0, strategy.get()])))
}

fn read(dialect: Dialect) -> SelectStatement {
    Query::select()
        .expr_as(Expr::col(Column::ComprehensiveData).cast_as("TEXT"), "document")
        .expr_as(Expr::col(Column::Sections).cast_as("TEXT"), "sections")
        .columns([Column::LogEpoch, Column::Format])
        .expr_as(dialect.time_text(Expr::col(Column::AsOf)), "as_of")
        .expr_as(dialect.micros_until(Expr::col(Column::ExpiresAt)), "micros_left")
        .from(Entity)
        .and_where(Expr::col(Column::UserId).eq(parameter(1)))
        .and_where(Expr::col(Column::StrategyKey).eq(parameter(2)))
        .and_where(Expr::col(Column::DataHash).eq(parameter(3)))
        .and_where(has_document())
        .to_owned()
}

/// Whether an invalidation has not dropped the row's document.
fn has_document() -> Expr {
    Expr::col(Column::Format).ne(Expr::cust(row::COUNTS_ONLY.to_string()))
}

/// A new row's access count is 0, and its other times are now, by the columns' defaults; a replaced row keeps its accesses.
fn upsert(dialect: Dialect) -> InsertStatement {
    let (columns, values): (Vec<_>, Vec<_>) = [
        (Column::UserId, parameter(1)),
        (Column::StrategyKey, parameter(2)),
        (Column::DataHash, parameter(3)),
        (Column::StrategyId, parameter(4)),
        (Column::ComprehensiveData, dialect.json(parameter(5))),
        (Column::Sections, dialect.json(parameter(6))),
        (Column::ReadPosition, parameter(7)),
        (Column::AsOf, parameter(8)),
        (Column::LogEpoch, parameter(9)),
        (Column::Complete, parameter(10)),
        (Column::Format, parameter(11)),
        (Column::ExpiresAt, dialect.now_plus_micros(parameter(12))),
    ]
    .into_iter()
    .unzip();
    let (key, rest) = columns.split_at(3);
    let stored = OnConflict::columns(key.iter().copied())
        .update_columns(rest.iter().copied().chain([Column::CreatedAt]))
        .action_and_where(replaces(dialect, parameter(13)))
        .to_owned();
    Query::insert().into_table(Entity).columns(columns).values_panic(values).on_conflict(stored).to_owned()
}

/// A row that cannot be served never stands in the way. Of valid ones, one that was read less far in the log never
/// replaces another, nor a partial document a complete one. The wall clock may step back, so it only decides between
/// equal positions.
fn replaces(dialect: Dialect, last_invalidation: Expr) -> Expr {
    let excluded = |column: Column| Expr::col(("excluded", column));
    let stored = |column: Column| Expr::col((Entity, column));
    // No clock is as wrong as a day.
    let is_of_the_future = stored(Column::AsOf).gt(dialect.now_plus_micros(Expr::cust(A_DAY_MICROS)));
    let is_useless = stored(Column::ExpiresAt)
        .lte(dialect.now())
        .or(stored(Column::ReadPosition).lt(last_invalidation))
        .or(stored(Column::Format).ne(excluded(Column::Format)))
        .or(is_of_the_future);
    let is_at_one_position = excluded(Column::ReadPosition).eq(stored(Column::ReadPosition));
    let is_newer = excluded(Column::ReadPosition)
        .gt(stored(Column::ReadPosition))
        .or(is_at_one_position.and(excluded(Column::AsOf).gte(stored(Column::AsOf))));
    let hides_nothing = excluded(Column::Complete).or(stored(Column::Complete).not());
    let other_log = stored(Column::LogEpoch).ne(excluded(Column::LogEpoch));
    other_log.or(is_useless).or(is_newer.and(hides_nothing))
}
