//! The scope's calendar events by mean score over 90 days.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, Value};

use super::{
    super::{
        sql::{ReadTransaction, SourceRow, Warnings},
        value::{count, round},
    },
    scope::AnalyticsScope,
    windows::start,
};
use crate::{
    database::SqlFile,
    proto::v1::TopContent,
    source_schema::{CALENDAR_EVENTS, CONTENT_ANALYTICS},
};

pub(super) const TOP_CONTENT: SqlFile = SqlFile::same(include_str!("sql/top_content.sql"));
const DAYS: i64 = 90;

/// The ten best, best first.
pub(super) async fn read(
    reading: &ReadTransaction,
    scope: AnalyticsScope<'_>,
    as_of: DateTime<Utc>,
    warnings: &mut Warnings,
) -> Result<Vec<TopContent>, DbErr> {
    let rows = reading.all(TOP_CONTENT, values(reading, scope, as_of)).await?;
    Ok(rows.iter().filter_map(|row| content(row, warnings)).collect())
}

/// The values of the statement's placeholders.
pub(super) fn values(reading: &ReadTransaction, scope: AnalyticsScope<'_>, as_of: DateTime<Utc>) -> [Value; 4] {
    let [user, strategy] = scope.values();
    [user, strategy, reading.time(start(as_of, DAYS)), reading.time(as_of)]
}

fn content(row: &SourceRow, warnings: &mut Warnings) -> Option<TopContent> {
    Some(TopContent {
        event_id: row.of(&CALENDAR_EVENTS, warnings).integer("id")?,
        title: row.text("title").unwrap_or_default(),
        content_type: row.text("content_type").unwrap_or_default(),
        platform: row.text("platform").unwrap_or_default(),
        records: count(row.integer("n").unwrap_or_default()),
        avg_performance_score: round(row.double("avg_score")?, 6),
        last_recorded_at: row.of(&CONTENT_ANALYTICS, warnings).time("recorded_at").map(Into::into),
    })
}
