//! The scope's calendar events by mean score over 90 days.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, Value};

use super::{
    super::{
        sql::{Dialect, ReadTransaction, SourceRow, Warnings},
        value::round,
    },
    scope::AnalyticsScope,
    windows::start,
};
use crate::proto::v1::TopContent;

const EVENTS: &str = "calendar_events";
const DAYS: i64 = 90;

/// The ten best, best first.
pub(super) async fn read(
    reading: &ReadTransaction,
    scope: AnalyticsScope,
    as_of: DateTime<Utc>,
    warnings: &mut Warnings,
) -> Result<Vec<TopContent>, DbErr> {
    let rows = reading.all(&sql(scope), &values(reading.dialect(), scope, as_of)).await?;
    Ok(rows.iter().filter_map(|row| content(row, warnings)).collect())
}

/// Ordered by the rounded mean: the order in which the database adds must not be seen.
pub(super) fn sql(scope: AnalyticsScope) -> String {
    format!(
        "WITH {own}
         SELECT CAST(ce.id AS BIGINT) AS id, CAST(ce.title AS TEXT) AS title,
                CAST(ce.content_type AS TEXT) AS content_type, CAST(ce.platform AS TEXT) AS platform,
                COUNT(*) AS n, AVG(ca.performance_score) AS avg_score, CAST(MAX(ca.recorded_at) AS TEXT) AS recorded_at
         FROM calendar_events ce JOIN content_analytics ca ON ca.event_id = ce.id
         WHERE ce.strategy_id IN (SELECT own.id FROM own)
           AND ca.performance_score BETWEEN -1000000 AND 1000000
           AND ca.recorded_at > :since AND ca.recorded_at <= :as_of
         GROUP BY ce.id, ce.title, ce.content_type, ce.platform
         ORDER BY CAST(ROUND(AVG(ca.performance_score) * 1000000) AS BIGINT) DESC, COUNT(*) DESC, ce.id
         LIMIT 10",
        own = scope.own()
    )
}

/// What the placeholders of [`sql`] stand for.
pub(super) fn values(dialect: Dialect, scope: AnalyticsScope, as_of: DateTime<Utc>) -> [(&'static str, Value); 3] {
    [scope.value(), ("since", dialect.time(start(as_of, DAYS))), ("as_of", dialect.time(as_of))]
}

fn content(row: &SourceRow, warnings: &mut Warnings) -> Option<TopContent> {
    Some(TopContent {
        event_id: row.int32(EVENTS, "id", warnings)?,
        title: row.text("title").unwrap_or_default(),
        content_type: row.text("content_type").unwrap_or_default(),
        platform: row.text("platform").unwrap_or_default(),
        records: i32::try_from(row.integer("n").unwrap_or_default()).unwrap_or(i32::MAX),
        avg_performance_score: round(row.double("avg_score")?, 6),
        last_recorded_at: row.time("content_analytics", "recorded_at", warnings).map(Into::into),
    })
}
