//! The statement that sums `content_analytics` by window, platform and half of the window.
//!
//! `metrics` is JSON that somebody else writes: each figure passes guards first, because one odd row
//! would fail the whole statement (`malformed JSON`, `integer overflow`, an unsupported escape).

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, Value};

use super::{
    super::{
        sql::{Dialect, ReadTransaction, SourceRow, Warnings},
        value::round,
    },
    scope::AnalyticsScope,
    sums::{PlatformSums, Sum, Sums},
    windows::{DAYS, middle, start},
};

/// The sums of the scope's analytics up to `as_of`; nothing for what has no rows.
pub(super) async fn sums(
    reading: &ReadTransaction,
    scope: AnalyticsScope,
    as_of: DateTime<Utc>,
    warnings: &mut Warnings,
) -> Result<Vec<PlatformSums>, DbErr> {
    let dialect = reading.dialect();
    let rows = reading.all(&sql(dialect, scope), &values(dialect, scope, as_of)).await?;
    if rows.iter().any(|row| row.integer("unread") > Some(0)) {
        warnings.add("MALFORMED_COLUMN", "content_analytics.metrics");
    }
    Ok(rows.iter().map(read).collect())
}

/// MATERIALIZED, or PostgreSQL would parse a row's JSON again for each figure and window. The `+`
/// keeps SQLite from the index on `strategy_id`, by which it would read everybody's rows without one.
pub(super) fn sql(dialect: Dialect, scope: AnalyticsScope) -> String {
    format!(
        "WITH {own},
         src AS (
           SELECT ca.platform, ca.metrics, ca.performance_score, ca.recorded_at
           FROM content_analytics ca
           WHERE ca.strategy_id IN (SELECT own.id FROM own)
             AND ca.recorded_at > :since90 AND ca.recorded_at <= :as_of
           UNION ALL
           SELECT ca.platform, ca.metrics, ca.performance_score, ca.recorded_at
           FROM calendar_events ce JOIN content_analytics ca ON ca.event_id = ce.id
           WHERE +ca.strategy_id IS NULL AND ce.strategy_id IN (SELECT own.id FROM own)
             AND ca.recorded_at > :since90 AND ca.recorded_at <= :as_of),
         safe AS MATERIALIZED (
           SELECT platform, recorded_at,
                  CASE WHEN performance_score BETWEEN -1000000 AND 1000000 THEN performance_score END AS score,
                  {object} AS m
           FROM src),
         r AS MATERIALIZED (
           SELECT platform, recorded_at, score, CASE WHEN m IS NULL THEN 1 ELSE 0 END AS unread,
                  {engagement} AS er, {conversion} AS cr, {click_through} AS ctr, {reach} AS reach
           FROM safe),
         w(days, since, mid) AS (VALUES {windows})
         SELECT CAST(w.days AS BIGINT) AS days, LOWER(TRIM(r.platform)) AS platform,
                CAST(CASE WHEN r.recorded_at > w.mid THEN 1 ELSE 0 END AS BIGINT) AS recent, COUNT(*) AS n,
                COUNT(r.score) AS n_score, SUM(r.score) AS sum_score, COUNT(r.er) AS n_er, SUM(r.er) AS sum_er,
                COUNT(r.cr) AS n_cr, SUM(r.cr) AS sum_cr, COUNT(r.ctr) AS n_ctr, SUM(r.ctr) AS sum_ctr,
                COUNT(r.reach) AS n_reach, SUM(r.reach) AS sum_reach, CAST(SUM(r.unread) AS BIGINT) AS unread
         FROM w JOIN r ON r.recorded_at > w.since
         GROUP BY w.days, LOWER(TRIM(r.platform)), CASE WHEN r.recorded_at > w.mid THEN 1 ELSE 0 END",
        own = scope.own(),
        object = safe_object(dialect),
        engagement = safe_number(dialect, "engagement_rate"),
        conversion = safe_number(dialect, "conversion_rate"),
        click_through = safe_number(dialect, "click_through_rate"),
        reach = safe_number(dialect, "reach"),
        windows = DAYS.map(|days| window(dialect, days)).join(", "),
    )
}

/// What the placeholders of [`sql`] stand for.
pub(super) fn values(dialect: Dialect, scope: AnalyticsScope, as_of: DateTime<Utc>) -> Vec<(&'static str, Value)> {
    vec![
        scope.value(),
        ("as_of", dialect.time(as_of)),
        ("since7", dialect.time(start(as_of, 7))),
        ("mid7", dialect.time(middle(as_of, 7))),
        ("since30", dialect.time(start(as_of, 30))),
        ("mid30", dialect.time(middle(as_of, 30))),
        ("since90", dialect.time(start(as_of, 90))),
        ("mid90", dialect.time(middle(as_of, 90))),
    ]
}

/// PostgreSQL would take an untyped VALUES list for text; SQLite would cast a timestamp to its year.
fn window(dialect: Dialect, days: i64) -> String {
    if dialect.is_sqlite() {
        format!("({days}, :since{days}, :mid{days})")
    } else {
        format!("({days}, CAST(:since{days} AS TIMESTAMP), CAST(:mid{days} AS TIMESTAMP))")
    }
}

/// `metrics` where members can be taken from it without failing: an object without U+0000 and
/// surrogates in escaped form. Empty for what is absent or no object, NULL for what cannot be read.
fn safe_object(dialect: Dialect) -> &'static str {
    if dialect.is_sqlite() {
        r"CASE WHEN typeof(metrics) IN ('null', 'integer', 'real') THEN '{}'
               WHEN typeof(metrics) = 'text' AND json_valid(metrics) AND instr(metrics, '\u0000') = 0
                    AND metrics NOT GLOB '*\u[dD][89a-fA-F]*' THEN metrics END"
    } else {
        r"CASE WHEN metrics IS NULL THEN CAST('{}' AS JSON)
               WHEN CAST(metrics AS TEXT) ~ '\\u(0000|[dD][89a-fA-F])' THEN NULL
               WHEN json_typeof(metrics) <> 'object' THEN CAST('{}' AS JSON) ELSE metrics END"
    }
}

/// Member `key` of the safe object `m` if it is a JSON number of sane size. A range instead of
/// `abs()` on SQLite: the absolute value of the least integer is an error there.
fn safe_number(dialect: Dialect, key: &str) -> String {
    if dialect.is_sqlite() {
        format!(
            "CASE WHEN json_type(m, '$.{key}') IN ('integer', 'real')
                       AND json_extract(m, '$.{key}') BETWEEN -1e15 AND 1e15
                  THEN json_extract(m, '$.{key}') * 1.0 END"
        )
    } else {
        format!(
            "CASE WHEN json_typeof(m->'{key}') = 'number'
                       AND m->>'{key}' ~ '^-?[0-9]{{1,15}}([.][0-9]{{1,30}})?([eE][-+]?[0-9]{{1,2}})?$'
                  THEN CASE WHEN abs((m->>'{key}')::double precision) <= 1e15
                            THEN (m->>'{key}')::double precision END END"
        )
    }
}

fn read(row: &SourceRow) -> PlatformSums {
    let whole = |column| row.integer(column).unwrap_or_default();
    // The last digits of a sum show the order in which the database added: nine places are the data's.
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
