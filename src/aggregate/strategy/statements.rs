//! The statements that find a strategy, and how their rows are read.
//!
//! The resolving statement carries the whole strategy row: what is known first costs no second trip.

use sea_orm::DbErr;
use serde_json::Value as Json;

use super::super::{
    rows::ResolvedStrategy,
    sql::{ReadTransaction, SourceRow, Warnings},
    strategy_metrics,
};
use crate::{
    database::SqlFile,
    model::UserId,
    proto::v1::{ActivationStatus, StrategyKind},
    source_schema::{ENHANCED_STRATEGIES, LEGACY_STRATEGIES, STRATEGY_ACTIVATIONS, SourceTable},
};

pub(super) const ENHANCED_STRATEGY: SqlFile = SqlFile::same(include_str!("sql/enhanced_strategy.sql"));
pub(super) const LEGACY_STRATEGY: SqlFile = SqlFile::same(include_str!("sql/legacy_strategy.sql"));
pub(super) const NEWEST_LEGACY_STRATEGY: SqlFile = SqlFile::same(include_str!("sql/newest_legacy_strategy.sql"));

/// All of the source's statements.
pub(super) const STATEMENTS: [SqlFile; 4] =
    [ENHANCED_STRATEGY, LEGACY_STRATEGY, NEWEST_LEGACY_STRATEGY, strategy_metrics::NEWEST];

/// A strategy as found by a resolving statement.
#[derive(Debug)]
pub(super) struct FoundStrategy {
    pub(super) resolved: ResolvedStrategy,
    /// Its columns, an object.
    pub(super) row: Json,
    /// The active activation that was joined to it.
    pub(super) activation: Option<ActivationStatus>,
}

/// The user's ENHANCED strategy `id`; without `id` the active, else the newest analysed, else the newest one.
pub(super) async fn enhanced(
    reading: &ReadTransaction,
    user: &UserId,
    id: Option<i32>,
    warnings: &mut Warnings,
) -> Result<Option<FoundStrategy>, DbErr> {
    let row = reading.one(ENHANCED_STRATEGY, [user.as_str().into(), id.into(), reading.json_bytes_max()]).await?;
    Ok(row.and_then(|row| found(StrategyKind::Enhanced, &ENHANCED_STRATEGIES, &row, warnings)))
}

/// The user's LEGACY strategy `id`; without `id` the one with the highest id.
pub(super) async fn legacy(
    reading: &ReadTransaction,
    user: &UserId,
    id: Option<i32>,
    warnings: &mut Warnings,
) -> Result<Option<FoundStrategy>, DbErr> {
    let (user, bytes_max) = (user.as_str().into(), reading.json_bytes_max());
    let row = match id {
        Some(id) => reading.one(LEGACY_STRATEGY, [user, bytes_max, id.into()]).await?,
        None => reading.one(NEWEST_LEGACY_STRATEGY, [user, bytes_max]).await?,
    };
    Ok(row.and_then(|row| found(StrategyKind::Legacy, &LEGACY_STRATEGIES, &row, warnings)))
}

fn found(
    kind: StrategyKind,
    table: &'static SourceTable,
    row: &SourceRow,
    warnings: &mut Warnings,
) -> Option<FoundStrategy> {
    let id = row.of(table, warnings).integer("id")?;
    let activation = row.integer("activation_id").map(|_| activation(row, warnings));
    let row = Json::Object(row.of(table, warnings).all());
    Some(FoundStrategy { resolved: ResolvedStrategy { kind, id }, row, activation })
}

fn activation(row: &SourceRow, warnings: &mut Warnings) -> ActivationStatus {
    let mut row = row.of(&STRATEGY_ACTIVATIONS, warnings);
    ActivationStatus {
        activation_date: row.time("activation_date").map(Into::into),
        performance_score: row.integer("performance_score"),
        last_updated: row.time("last_updated").map(Into::into),
    }
}
