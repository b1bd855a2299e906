//! Metrics recorded for an ENHANCED strategy: the newest row, and means over 30 and 90 days.

use chrono::{DateTime, Utc};
use sea_orm::DbErr;

use super::{
    super::{
        rows::STRATEGY_METRICS,
        sql::{
            Column::{Integer, Text, Time},
            ReadTransaction, SourceRow, Warnings,
        },
        value::round,
    },
    windows::start,
};
use crate::{
    model::UserId,
    proto::v1::{StrategyMetrics, StrategyMetricsAverage, StrategyMetricsRow},
};

const METRICS: &str = "strategy_performance_metrics";
/// The means' windows.
const DAYS: [i64; 2] = [30, 90];

/// The metrics of the strategy; none if no row was ever recorded.
pub(super) async fn read(
    reading: &ReadTransaction,
    strategy: i32,
    user: &UserId,
    as_of: DateTime<Utc>,
    warnings: &mut Warnings,
) -> Result<Option<StrategyMetrics>, DbErr> {
    let dialect = reading.dialect();
    let owner = [("strategy", strategy.into()), ("user", user.as_str().into())];

    let shown = dialect.select("p", &[Time("metric_date"), Text("data_source")]);
    let figures = dialect.select("p", &STRATEGY_METRICS.map(Integer));
    let latest_sql = format!(
        "SELECT {shown}, {figures} FROM {METRICS} p WHERE p.strategy_id = :strategy AND p.user_id = :user
         ORDER BY p.metric_date DESC NULLS LAST, p.id DESC LIMIT 1"
    );
    let Some(row) = reading.one(&latest_sql, &owner).await? else { return Ok(None) };
    let latest = Some(latest(&row, warnings));

    let averages_sql = format!("{} ORDER BY days", DAYS.map(average_sql).join(" UNION ALL "));
    let mut values = owner.to_vec();
    values.push(("as_of", dialect.time(as_of)));
    values.extend([("since30", dialect.time(start(as_of, 30))), ("since90", dialect.time(start(as_of, 90)))]);
    let averages = reading.all(&averages_sql, &values).await?.iter().map(average).collect();
    Ok(Some(StrategyMetrics { latest, averages }))
}

/// Without GROUP BY: a window without rows has a row, too.
fn average_sql(days: i64) -> String {
    let means = STRATEGY_METRICS.map(|metric| format!("AVG(CAST(p.{metric} AS DOUBLE PRECISION)) AS {metric}"));
    format!(
        "SELECT CAST({days} AS BIGINT) AS days, COUNT(*) AS n, {means} FROM {METRICS} p
         WHERE p.strategy_id = :strategy AND p.user_id = :user
           AND p.metric_date > :since{days} AND p.metric_date <= :as_of",
        means = means.join(", ")
    )
}

fn latest(row: &SourceRow, warnings: &mut Warnings) -> StrategyMetricsRow {
    let metric_date = row.time(METRICS, "metric_date", warnings).map(Into::into);
    let [traffic, engagement, conversion, roi, adoption, quality, rank, audience, confidence] =
        STRATEGY_METRICS.map(|metric| row.int32(METRICS, metric, warnings));
    StrategyMetricsRow {
        metric_date,
        traffic_growth_percentage: traffic,
        engagement_rate_percentage: engagement,
        conversion_rate_percentage: conversion,
        roi_ratio: roi,
        strategy_adoption_rate: adoption,
        content_quality_score: quality,
        competitive_position_rank: rank,
        audience_growth_percentage: audience,
        confidence_score: confidence,
        data_source: row.text("data_source"),
    }
}

fn average(row: &SourceRow) -> StrategyMetricsAverage {
    let whole = |column| row.integer(column).and_then(|number| i32::try_from(number).ok()).unwrap_or(i32::MAX);
    let [traffic, engagement, conversion, roi, adoption, quality, rank, audience, confidence] =
        STRATEGY_METRICS.map(|metric| row.double(metric).map(|mean| round(mean, 2)));
    StrategyMetricsAverage {
        days: whole("days"),
        rows: whole("n"),
        traffic_growth_percentage: traffic,
        engagement_rate_percentage: engagement,
        conversion_rate_percentage: conversion,
        roi_ratio: roi,
        strategy_adoption_rate: adoption,
        content_quality_score: quality,
        competitive_position_rank: rank,
        audience_growth_percentage: audience,
        confidence_score: confidence,
    }
}
