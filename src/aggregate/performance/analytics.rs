//! The statement that sums `content_analytics` by window, platform and half of the window.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, Value};

use super::{
    super::{
        sql::{ReadTransaction, SourceRow, Warnings},
        value::round,
    },
    scope::AnalyticsScope,
    sums::{PlatformSums, Sum, Sums},
    windows::{middle, start},
};
use crate::database::SqlFile;

pub(super) const ANALYTICS_SUMS: SqlFile = SqlFile {
    postgres: include_str!("sql/analytics_sums.postgres.sql"),
    sqlite: include_str!("sql/analytics_sums.sqlite.sql"),
};

/// The sums of the scope's analytics up to `as_of`. A window, platform or half without rows is left out.
pub(super) async fn sums(
    reading: &ReadTransaction,
    scope: AnalyticsScope<'_>,
    as_of: DateTime<Utc>,
    warnings: &mut Warnings,
) -> Result<Vec<PlatformSums>, DbErr> {
    let rows = reading.all(ANALYTICS_SUMS, values(reading, scope, as_of)).await?;
    if rows.iter().any(|row| row.integer("unread") > Some(0)) {
        warnings.add("MALFORMED_COLUMN", "content_analytics.metrics");
    }
    if rows.iter().any(|row| row.integer("nan") > Some(0)) {
        warnings.add("NOT_A_NUMBER", "content_analytics.metrics");
    }
    Ok(rows.iter().map(read).collect())
}

/// The values of the statement's placeholders.
pub(super) fn values(reading: &ReadTransaction, scope: AnalyticsScope<'_>, as_of: DateTime<Utc>) -> [Value; 9] {
    let [user, strategy] = scope.values();
    let [since7, since30, since90] = [7, 30, 90].map(|days| reading.time(start(as_of, days)));
    let [middle7, middle30, middle90] = [7, 30, 90].map(|days| reading.time(middle(as_of, days)));
    [user, strategy, since7, middle7, since30, middle30, since90, middle90, reading.time(as_of)]
}

fn read(row: &SourceRow) -> PlatformSums {
    let whole = |column| row.integer(column).unwrap_or_default();
    // Rounded, because the last digits of a sum depend on the order in which the database adds.
    let sum = |n, total| Sum { count: whole(n), total: round(row.double(total).unwrap_or_default(), 9) };
    PlatformSums {
        days: whole("days"),
        platform: row.text("platform").unwrap_or_default(),
        recent: whole("recent") == 1,
        sums: Sums {
            records: whole("n"),
            score: sum("n_score", "sum_score"),
            engagement: sum("n_er", "sum_er"),
            conversion: sum("n_cr", "sum_cr"),
            click_through: sum("n_ctr", "sum_ctr"),
            reach: sum("n_reach", "sum_reach"),
        },
    }
}
