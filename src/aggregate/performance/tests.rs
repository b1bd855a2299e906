//! The statements on a real database: bounds, owners, odd JSON, orders and indexes.

mod recommendations;

use super::{
    super::testing::{COLUMN_BYTES_MAX, SourceTables},
    *,
};
use crate::proto::v1::{PerformanceAggregate, TrendDirection};

const AS_OF: &str = "2025-09-01T12:00:00Z";

fn as_of() -> DateTime<Utc> {
    AS_OF.parse().unwrap()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn legacy(id: i32) -> Option<ResolvedStrategy> {
    Some(ResolvedStrategy { kind: StrategyKind::Legacy, id })
}

fn enhanced(id: i32) -> Option<ResolvedStrategy> {
    Some(ResolvedStrategy { kind: StrategyKind::Enhanced, id })
}

/// User 1 has the strategies 10 and 11 with one event each; user 2 has 20.
async fn tables() -> SourceTables {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    tables
        .execute("INSERT INTO content_strategies (id, user_id, name) VALUES (11, 1, 'b'), (10, 1, 'a'), (20, 2, 'c')")
        .await;
    for (id, strategy) in [(100, 10), (110, 11), (200, 20)] {
        event(&tables, id, strategy).await;
    }
    tables
}

async fn event(tables: &SourceTables, id: i32, strategy: i32) {
    tables
        .execute(&format!(
            "INSERT INTO calendar_events (id, strategy_id, title, content_type, platform, scheduled_date)
             VALUES ({id}, {strategy}, 'event {id}', 'post', 'Blog', '2025-08-01 00:00:00')"
        ))
        .await;
}

/// Rows of (event, strategy, platform, metrics, score, recorded at), each as SQL.
async fn analytics(tables: &SourceTables, rows: &[&str]) {
    for row in rows {
        let sql = format!(
            "INSERT INTO content_analytics (id, event_id, strategy_id, platform, metrics, performance_score, recorded_at)
             SELECT COALESCE(MAX(id), 0) + 1, {row} FROM content_analytics"
        );
        tables.execute(&sql).await;
    }
}

async fn read(tables: &SourceTables, of: &str, resolved: Option<ResolvedStrategy>) -> Performance {
    let read = performance(&tables.database, &user(of), resolved, as_of()).await.unwrap();
    assert_eq!(read.warnings.into_vec(), Vec::<String>::new());
    read.value
}

fn overall(performance: &Performance, days: i32) -> &PerformanceAggregate {
    let window = performance.data.windows.iter().find(|window| window.days == days).unwrap();
    window.overall.as_ref().unwrap()
}

#[tokio::test]
async fn windows_exclude_their_start_include_their_end_and_the_middle_is_older() {
    for (recorded_at, records, halves_of_seven) in [
        ("2025-09-01 12:00:00", [1, 1, 1], Some((1, 0))),
        ("2025-09-01 12:00:00.000001", [0, 0, 0], None),
        ("2025-08-29 00:00:00.000001", [1, 1, 1], Some((1, 0))),
        ("2025-08-29 00:00:00", [1, 1, 1], Some((0, 1))),
        ("2025-08-29 00:00:00.000", [1, 1, 1], Some((0, 1))),
        ("2025-08-25 12:00:00.000001", [1, 1, 1], Some((0, 1))),
        ("2025-08-25 12:00:00", [0, 1, 1], None),
        ("2025-08-02 12:00:00.5", [0, 1, 1], None),
        ("2025-08-02 12:00:00.000000", [0, 0, 1], None),
        ("2025-06-03 12:00:00.000001", [0, 0, 1], None),
        ("2025-06-03 12:00:00", [0, 0, 0], None),
    ] {
        let tables = tables().await;
        analytics(&tables, &[&format!("NULL, 10, 'blog', NULL, 0.5, '{recorded_at}'")]).await;
        let performance = read(&tables, "1", None).await;
        assert_eq!([7, 30, 90].map(|days| overall(&performance, days).records), records, "{recorded_at}");
        assert_eq!(performance.found, records[2] == 1, "{recorded_at}");
        let trend = overall(&performance, 7).performance_trend.unwrap();
        let halves = (trend.recent_count, trend.older_count);
        assert_eq!(halves, halves_of_seven.unwrap_or_default(), "{recorded_at}");
    }
}

#[tokio::test]
async fn a_row_counts_once_by_its_own_strategy_else_by_its_events() {
    let tables = tables().await;
    analytics(
        &tables,
        &[
            "100, 10, 'blog', NULL, 0.1, '2025-08-31 00:00:00'",
            "110, NULL, 'blog', NULL, 0.2, '2025-08-31 00:00:00'",
            // Another user's strategy on our event, and the other way round.
            "100, 20, 'blog', NULL, 0.4, '2025-08-31 00:00:00'",
            "200, 11, 'blog', NULL, 0.8, '2025-08-31 00:00:00'",
            "NULL, NULL, 'blog', NULL, 0.9, '2025-08-31 00:00:00'",
        ],
    )
    .await;
    for (of, resolved, ids, records, average) in [
        ("1", None, vec![10, 11], 3, Some(0.366667)),
        ("1", enhanced(5), vec![10, 11], 3, Some(0.366667)),
        ("1", legacy(10), vec![10], 1, Some(0.1)),
        ("1", legacy(11), vec![11], 2, Some(0.5)),
        ("2", None, vec![20], 1, Some(0.4)),
        ("01", None, vec![], 0, None),
        ("anna", enhanced(5), vec![], 0, None),
        ("3", None, vec![], 0, None),
    ] {
        let performance = read(&tables, of, resolved).await;
        assert_eq!(performance.data.strategy_ids, ids, "{of} {resolved:?}");
        let overall = overall(&performance, 7);
        assert_eq!((overall.records, overall.avg_performance_score), (records, average), "{of} {resolved:?}");
        assert_eq!(performance.found, records > 0);
        assert_eq!(performance.data.windows.len(), 3);
    }
}

#[tokio::test]
async fn platforms_and_trends_come_from_the_rows() {
    let tables = tables().await;
    analytics(
        &tables,
        &[
            "NULL, 10, ' LinkedIn ', '{\"engagement_rate\": 0.02, \"reach\": 100.4}', 0.5, '2025-08-05 00:00:00'",
            "NULL, 10, 'linkedin', '{\"engagement_rate\": 0.02, \"reach\": 200}', 0.5, '2025-08-06 00:00:00'",
            "NULL, 11, 'LINKEDIN', '{\"engagement_rate\": 0.01}', 0.6, '2025-08-20 00:00:00'",
            "NULL, 11, 'x', '{\"conversion_rate\": 0.003, \"click_through_rate\": 0.04}', 0.6, '2025-08-21 00:00:00'",
            "NULL, 10, 'x', '{}', 0.9, '2025-08-22 00:00:00'",
        ],
    )
    .await;
    let performance = read(&tables, "1", None).await;
    let window = &performance.data.windows[1];
    let names: Vec<_> = window.platforms.iter().map(|p| (p.platform.as_deref().unwrap(), p.records)).collect();
    assert_eq!(names, [("linkedin", 3), ("x", 2)]);

    let overall = window.overall.as_ref().unwrap();
    assert_eq!(overall.avg_performance_score, Some(0.62));
    assert_eq!(overall.avg_engagement_rate, Some(0.016667));
    assert_eq!((overall.avg_conversion_rate, overall.avg_click_through_rate), (Some(0.003), Some(0.04)));
    assert_eq!(overall.total_reach, Some(300));
    // The check of data.md section 8: older 0.5 and 0.5, recent 0.6, 0.6 and 0.9.
    let score = overall.performance_trend.unwrap();
    assert_eq!((score.direction(), score.change_percent), (TrendDirection::Increasing, Some(40.0)));
    assert_eq!((score.older_mean, score.recent_mean), (Some(0.5), Some(0.7)));
    let engagement = overall.engagement_trend.unwrap();
    assert_eq!((engagement.direction(), engagement.change_percent), (TrendDirection::Decreasing, Some(-50.0)));
    assert_eq!((engagement.older_count, engagement.recent_count), (2, 1));
}

#[tokio::test]
async fn odd_metrics_are_left_out_and_never_fail_the_statement() {
    // (metrics, the engagement rate read from it)
    let cases = [
        (r#"'{"engagement_rate": 0.25}'"#, Some(0.25)),
        (r#"'{"engagement_rate": -3}'"#, Some(-3.0)),
        (r#"'{"engagement_rate": 2.5E-1}'"#, Some(0.25)),
        (r#"'{"engagement_rate": 0.5, "note": "\uD55C\u00e9"}'"#, Some(0.5)),
        (r#"'{"engagement_rate": "0.25"}'"#, None),
        (r#"'{"engagement_rate": null}'"#, None),
        (r#"'{"engagement_rate": true}'"#, None),
        (r#"'{"engagement_rate": [0.25]}'"#, None),
        (r#"'{"engagement_rate": {"a": 1}}'"#, None),
        (r#"'{"engagement_rate": 0.25, "reach": NaN, "x": -Infinity}'"#, Some(0.25)),
        (r#"'{"engagement_rate": Infinity}'"#, None),
        ("'NaN'", None),
        (r#"'{"engagement_rate": 1e300}'"#, None),
        (r#"'{"engagement_rate": 1e99999}'"#, None),
        (r#"'{"engagement_rate": -9223372036854775808}'"#, None),
        (r#"'{"engagement_rate": 123456789012345678901234567890}'"#, None),
        (r#"'{"engagement_rate": 0.25, "note": "\u0000"}'"#, None),
        (r#"'{"engagement_rate": 0.25, "note": "\ud83d\ude00"}'"#, None),
        (r#"'{"engagement_rate": 0.25, "note": "\uD800"}'"#, None),
        ("'[{\"engagement_rate\": 0.25}]'", None),
        ("'[]'", None),
        ("'{}'", None),
        ("'\"text\"'", None),
        ("'\"\\u0000\"'", None),
        ("'85'", None),
        ("'0.5'", None),
        ("'true'", None),
        ("'null'", None),
        ("NULL", None),
    ];
    let broken = [r#"'{"engagement_rate": 0.25'"#, "''", "'{a: }'", "x'00ff'"];
    let tables = tables().await;
    for (metrics, expected) in cases.into_iter().chain(broken.map(|metrics| (metrics, None))) {
        // Members cannot be taken safely from what has these escapes; what is left out is named.
        let escaped = [r"\u0000", r"\ud83d", r"\uD800"].iter().any(|escape| metrics.contains(escape));
        let named = if escaped || broken.contains(&metrics) {
            &["MALFORMED_COLUMN content_analytics.metrics"][..]
        } else if ["NaN", "Infinity"].iter().any(|number| metrics.contains(number)) {
            &["NOT_A_NUMBER content_analytics.metrics"][..]
        } else {
            &[]
        };
        tables.execute("DELETE FROM content_analytics").await;
        analytics(&tables, &[&format!("NULL, 10, 'blog', {metrics}, 0.5, '2025-08-31 00:00:00'")]).await;
        let read = performance(&tables.database, &user("1"), None, as_of()).await.unwrap();
        assert_eq!(read.warnings.into_vec(), named, "{metrics}");
        let overall = overall(&read.value, 7);
        assert_eq!((overall.records, overall.avg_performance_score), (1, Some(0.5)), "{metrics}");
        assert_eq!(overall.avg_engagement_rate, expected, "{metrics}");
    }
}

#[tokio::test]
async fn scores_beyond_sense_are_left_out() {
    let tables = tables().await;
    analytics(
        &tables,
        &[
            "100, NULL, 'blog', NULL, 0.5, '2025-08-31 00:00:00'",
            "100, NULL, 'blog', NULL, 1e300, '2025-08-31 00:00:00'",
            "100, NULL, 'blog', NULL, -1000001, '2025-08-31 00:00:00'",
            "100, NULL, 'blog', NULL, NULL, '2025-08-31 00:00:00'",
        ],
    )
    .await;
    let performance = read(&tables, "1", None).await;
    assert_eq!(overall(&performance, 7).records, 4);
    assert_eq!(overall(&performance, 7).avg_performance_score, Some(0.5));
    assert_eq!(performance.data.top_content.len(), 1);
    assert_eq!(performance.data.top_content[0].records, 1);
}

#[tokio::test]
async fn top_content_is_ordered_by_mean_then_records_then_id() {
    let tables = tables().await;
    let others = || (101..115).filter(|id| *id != 110);
    for id in others() {
        event(&tables, id, 10).await;
    }
    let mut rows = vec![
        "100, NULL, 'blog', NULL, 0.7, '2025-08-31 00:00:00'".to_owned(),
        // The same mean from more records, which differs in the sixteenth digit.
        "110, NULL, 'blog', NULL, 0.6, '2025-08-29 00:00:00.25'".to_owned(),
        "110, NULL, 'blog', NULL, 0.8, '2025-08-30 00:00:00'".to_owned(),
        // Too old, unscored, somebody else's.
        "101, NULL, 'blog', NULL, 1.0, '2025-06-03 12:00:00'".to_owned(),
        "102, NULL, 'blog', NULL, NULL, '2025-08-31 00:00:00'".to_owned(),
        "200, NULL, 'blog', NULL, 1.0, '2025-08-31 00:00:00'".to_owned(),
    ];
    rows.extend(others().skip(2).map(|id| format!("{id}, NULL, 'blog', NULL, 0.3333333, '2025-08-31 00:00:00'")));
    analytics(&tables, &rows.iter().map(String::as_str).collect::<Vec<_>>()).await;

    let top = read(&tables, "1", None).await.data.top_content;
    let ids: Vec<i32> = top.iter().map(|content| content.event_id).collect();
    assert_eq!(ids, [110, 100, 103, 104, 105, 106, 107, 108, 109, 111]);
    let first = &top[0];
    assert_eq!(
        (first.title.as_str(), first.content_type.as_str(), first.platform.as_str()),
        ("event 110", "post", "Blog")
    );
    assert_eq!((first.records, first.avg_performance_score), (2, 0.7));
    let last: DateTime<Utc> = "2025-08-30T00:00:00Z".parse().unwrap();
    assert_eq!(first.last_recorded_at, Some(last.into()));
    assert_eq!(top[2].avg_performance_score, 0.333333);

    let of_one = read(&tables, "1", legacy(11)).await.data.top_content;
    assert_eq!(of_one.iter().map(|content| content.event_id).collect::<Vec<_>>(), [110]);
}

#[tokio::test]
async fn strategy_metrics_are_the_newest_row_and_means_of_30_and_90_days() {
    let tables = tables().await;
    tables
        .execute(
            "INSERT INTO strategy_performance_metrics
               (id, strategy_id, user_id, metric_date, roi_ratio, confidence_score, data_source) VALUES
               (1, 7, '1', '2025-08-31 00:00:00', 4, NULL, 'monitor'),
               (2, 7, '1', '2025-08-20 00:00:00', 3, NULL, NULL),
               (3, 7, '1', '2025-08-10 00:00:00', 3, NULL, NULL),
               (4, 7, '1', '2025-08-02 12:00:00', 10, 8, NULL),
               (5, 7, '1', NULL, 99, 99, 'undated'),
               (6, 7, '2', '2025-09-01 00:00:00', 99, 99, 'of another user'),
               (7, 8, '1', '2025-09-01 00:00:00', 99, 99, 'of another strategy'),
               (8, 9, '1', '2020-01-01 00:00:00', 5, NULL, 'old')",
        )
        .await;
    let performance = read(&tables, "1", enhanced(7)).await;
    assert!(performance.found);
    assert_eq!(
        serde_json::to_value(performance.data.strategy_metrics.unwrap()).unwrap(),
        serde_json::json!({
            "latest": {"metric_date": "2025-08-31T00:00:00Z", "roi_ratio": 4, "data_source": "monitor"},
            "averages": [
                {"days": 30, "rows": 3, "roi_ratio": 3.33},
                {"days": 90, "rows": 4, "roi_ratio": 5.0, "confidence_score": 8.0}
            ]
        })
    );

    let old = read(&tables, "1", enhanced(9)).await;
    assert!(old.found);
    let rows: Vec<i32> = old.data.strategy_metrics.unwrap().averages.iter().map(|average| average.rows).collect();
    assert_eq!(rows, [0, 0]);

    for (of, resolved) in [("1", enhanced(6)), ("3", enhanced(7)), ("1", legacy(7)), ("1", None)] {
        let performance = read(&tables, of, resolved).await;
        assert!(performance.data.strategy_metrics.is_none() && !performance.found, "{of} {resolved:?}");
    }
}

#[tokio::test]
async fn more_than_a_hundred_strategies_count_but_a_hundred_are_listed() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    for id in (1..=130).rev() {
        tables.execute(&format!("INSERT INTO content_strategies (id, user_id, name) VALUES ({id}, 1, 's')")).await;
        analytics(&tables, &[&format!("NULL, {id}, 'blog', NULL, 0.5, '2025-08-31 00:00:00'")]).await;
    }
    let performance = read(&tables, "1", None).await;
    assert_eq!(performance.data.strategy_ids, (1..=100).collect::<Vec<_>>());
    assert_eq!(overall(&performance, 7).records, 130);
}

#[tokio::test]
async fn statements_use_the_indexes() {
    let tables = tables().await;
    let reading = tables.reading().await;
    for resolved in [None, legacy(10)] {
        let owner = user("1");
        let scope = AnalyticsScope::of(&owner, resolved);
        let plan = reading.plan(analytics::ANALYTICS_SUMS, analytics::values(&reading, scope, as_of())).await;
        for index in [
            "ix_content_analytics_strategy (strategy_id=? AND recorded_at>? AND recorded_at<?)",
            "ix_content_analytics_event (event_id=? AND recorded_at>? AND recorded_at<?)",
            "ix_calendar_events_strategy (strategy_id=?)",
        ] {
            assert!(plan.contains(index), "{index} in\n{plan}");
        }
        let plan = reading.plan(top_content::TOP_CONTENT, top_content::values(&reading, scope, as_of())).await;
        let index = "ix_content_analytics_event (event_id=? AND recorded_at>? AND recorded_at<?)";
        assert!(plan.contains(index), "{plan}");
    }
}
