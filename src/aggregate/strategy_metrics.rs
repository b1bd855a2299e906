//! The newest metrics that were recorded for an enhanced strategy: one input of the strategy, and shown with its
//! performance.

use sea_orm::DbErr;
use serde_json::{Map, Value as Json};

use super::sql::{Columns, ReadTransaction, SourceRow};
use crate::{database::SqlFile, model::UserId, source_schema::METRICS};

pub(super) const NEWEST: SqlFile = SqlFile::same(include_str!("sql/newest_strategy_metrics.sql"));

/// The strategy's newest row of `strategy_performance_metrics`.
pub(super) async fn newest(
    reading: &ReadTransaction,
    strategy: i32,
    user: &UserId,
) -> Result<Option<SourceRow>, DbErr> {
    reading.one(NEWEST, [strategy.into(), user.as_str().into()]).await
}

/// The row's metrics that are not absent, by name.
pub(super) fn of(row: &mut Columns<'_>) -> Map<String, Json> {
    METRICS.iter().filter_map(|metric| Some(((*metric).to_owned(), row.integer(metric)?.into()))).collect()
}
