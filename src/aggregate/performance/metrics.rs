//! Metrics recorded for an ENHANCED strategy: the newest row, and means over 30 and 90 days.

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde_json::Map;

use super::{
    super::{
        sql::{ReadTransaction, SourceRow, Warnings},
        strategy_metrics,
        value::{count, from_members, round},
    },
    windows::start,
};
use crate::{
    database::SqlFile,
    model::UserId,
    proto::v1::{StrategyMetrics, StrategyMetricsAverage, StrategyMetricsRow},
    source_schema::{METRICS, STRATEGY_METRICS},
};

pub(super) const AVERAGES: SqlFile = SqlFile::same(include_str!("sql/strategy_metrics_averages.sql"));

/// The metrics of the strategy; none if no row was ever recorded.
pub(super) async fn read(
    reading: &ReadTransaction,
    strategy: i32,
    user: &UserId,
    as_of: DateTime<Utc>,
    warnings: &mut Warnings,
) -> Result<Option<StrategyMetrics>, DbErr> {
    let Some(newest) = strategy_metrics::newest(reading, strategy, user).await? else { return Ok(None) };
    let [month, quarter, end] = [start(as_of, 30), start(as_of, 90), as_of].map(|time| reading.time(time));
    let averages = reading.all(AVERAGES, [strategy.into(), user.as_str().into(), month, quarter, end]).await?;
    let averages = averages.iter().map(average).collect();
    Ok(Some(StrategyMetrics { latest: Some(latest(&newest, warnings)), averages }))
}

fn latest(row: &SourceRow, warnings: &mut Warnings) -> StrategyMetricsRow {
    let mut row = row.of(&STRATEGY_METRICS, warnings);
    StrategyMetricsRow {
        metric_date: row.time("metric_date").map(Into::into),
        data_source: row.text("data_source"),
        ..from_members(strategy_metrics::of(&mut row))
    }
}

fn average(row: &SourceRow) -> StrategyMetricsAverage {
    let means: Map<_, _> = METRICS
        .iter()
        .filter_map(|metric| Some(((*metric).to_owned(), round(row.double(metric)?, 2).into())))
        .collect();
    StrategyMetricsAverage {
        days: count(row.integer("days").unwrap_or_default()),
        rows: count(row.integer("n").unwrap_or_default()),
        ..from_members(means)
    }
}
