//! The source on a real database: which strategy is meant, whose it is, and what odd columns do.

use super::{
    super::testing::{COLUMN_BYTES_MAX, SourceTables},
    statements::{ENHANCED_STRATEGY, LEGACY_STRATEGY, NEWEST_LEGACY_STRATEGY},
    *,
};
use crate::source_schema::{ENHANCED_STRATEGIES, Family};

const ENHANCED: StrategyKind = StrategyKind::Enhanced;
const LEGACY: StrategyKind = StrategyKind::Legacy;
const QUALITY: [&str; 4] = ["strategy_analysis", "quality_indicators", "data_completeness", "strategic_alignment"];

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

async fn resolved(tables: &SourceTables, of: &str, asked: Option<i64>) -> Option<(StrategyKind, i32)> {
    let asked = asked.map(|number| StrategyId::new(number).unwrap());
    let resolution = resolve(&tables.database, &user(of), asked).await.unwrap();
    resolution.resolved().map(|strategy| (strategy.kind, strategy.id))
}

async fn read(tables: &SourceTables, of: &str) -> (Strategy, Vec<String>) {
    let read = resolve(&tables.database, &user(of), None).await.unwrap().read().await.unwrap();
    (read.value.unwrap(), read.warnings.into_vec())
}

#[tokio::test]
async fn the_active_strategy_is_meant_then_the_newest_analysed_then_the_newest() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    tables
        .execute(
            "INSERT INTO enhanced_content_strategies (id, user_id, name, created_at, comprehensive_ai_analysis) VALUES
               (1, '1', 'oldest', '2025-01-01 00:00:00', NULL),
               (2, '1', 'analysed', '2025-02-01 00:00:00', '{}'),
               (3, '1', 'analysed later', '2025-03-01 00:00:00', '{\"a\": 1}'),
               (4, '1', 'newest, no analysis', '2025-04-01 00:00:00', 'null'),
               (5, '1', 'undated', NULL, NULL)",
        )
        .await;
    assert_eq!(resolved(&tables, "1", None).await, Some((ENHANCED, 3)));

    tables.execute("UPDATE enhanced_content_strategies SET comprehensive_ai_analysis = NULL").await;
    assert_eq!(resolved(&tables, "1", None).await, Some((ENHANCED, 4)));

    // Activation rows name another user: they belong to their strategy's owner all the same.
    for (activation, expected) in [
        ("(1, 1, 99, NULL, 'active')", 1),
        ("(2, 5, 99, NULL, 'active')", 5),
        ("(3, 2, 99, '2025-05-01 00:00:00', 'active')", 2),
        ("(4, 3, 99, '2025-05-01 00:00:00.5', 'active')", 3),
        ("(5, 4, 99, '2025-06-01 00:00:00', 'paused')", 3),
    ] {
        tables
            .execute(&format!(
                "INSERT INTO strategy_activation_status (id, strategy_id, user_id, activation_date, status)
                 VALUES {activation}"
            ))
            .await;
        assert_eq!(resolved(&tables, "1", None).await, Some((ENHANCED, expected)), "{activation}");
    }
    assert_eq!(resolved(&tables, "1", Some(1)).await, Some((ENHANCED, 1)));
}

#[tokio::test]
async fn of_two_active_rows_of_one_strategy_the_dated_one_is_shown() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    tables
        .execute("INSERT INTO enhanced_content_strategies (id, user_id, name) VALUES (30, '30', 'twice active')")
        .await;
    tables
        .execute(
            "INSERT INTO strategy_activation_status
               (id, strategy_id, user_id, activation_date, status, performance_score, last_updated) VALUES
               (1, 30, 0, '2025-05-01 10:00:00', 'active', 71, '2025-05-02 10:00:00'),
               (2, 30, 0, NULL, 'active', 12, NULL)",
        )
        .await;
    let (strategy, warnings) = read(&tables, "30").await;
    let activation = strategy.data.activation_status.unwrap();
    let date: chrono::DateTime<chrono::Utc> = "2025-05-01T10:00:00Z".parse().unwrap();
    assert_eq!((activation.activation_date, activation.performance_score), (Some(date.into()), Some(71)));
    assert!(warnings.is_empty());
}

#[tokio::test]
async fn somebody_elses_strategy_is_the_same_as_none() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    tables
        .execute(
            "INSERT INTO enhanced_content_strategies (id, user_id, name) VALUES
               (1, '2', 'theirs'), (2, '01', 'of another user'), (3, '1', 'mine')",
        )
        .await;
    tables.execute("INSERT INTO content_strategies (id, user_id, name) VALUES (4, 2, 'theirs'), (5, 1, 'mine')").await;
    for (of, asked, expected) in [
        ("1", 1, None),
        ("1", 2, None),
        ("1", 3, Some((ENHANCED, 3))),
        ("1", 4, None),
        ("1", 5, Some((LEGACY, 5))),
        ("1", 6, None),
        ("1", 2_147_483_648, None),
        // 2^32 + 3: cut to 32 bits it would be the strategy 3.
        ("1", 4_294_967_299, None),
        ("01", 2, Some((ENHANCED, 2))),
        ("01", 5, None),
        ("anna", 5, None),
    ] {
        assert_eq!(resolved(&tables, of, Some(asked)).await, expected, "{asked} for {of}");
    }
    assert_eq!(resolved(&tables, "anna", None).await, None);
}

#[tokio::test]
async fn an_enhanced_strategy_comes_before_a_legacy_one_of_its_number() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    tables.execute("INSERT INTO content_strategies (id, user_id, name) VALUES (7, 1, 'a'), (9, 1, 'b')").await;
    assert_eq!(resolved(&tables, "1", None).await, Some((LEGACY, 9)));
    assert_eq!(resolved(&tables, "1", Some(7)).await, Some((LEGACY, 7)));
    tables.execute("INSERT INTO enhanced_content_strategies (id, user_id, name) VALUES (7, '1', 'c')").await;
    assert_eq!(resolved(&tables, "1", Some(7)).await, Some((ENHANCED, 7)));
    assert_eq!(resolved(&tables, "1", None).await, Some((ENHANCED, 7)));
}

#[tokio::test]
async fn a_legacy_strategy_has_the_basic_columns_only() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    tables
        .execute(
            "INSERT INTO content_strategies VALUES (4, 1, 'Plan', 'finance', '\"savers\"', '[\"a\", \"b\", \"c\", \"d\"]',
               '[{\"type\": \"x\"}]', '2025-01-02 03:04:05', '2025-01-02 03:04:05.25')",
        )
        .await;
    let (strategy, warnings) = read(&tables, "1").await;
    assert!(warnings.is_empty());
    let pillars = ["a", "b", "c", "d"].map(|name| serde_json::json!({"name": name, "topics": []}));
    // The quality objects' own tests say what is in them.
    let mut data = serde_json::to_value(&strategy.data).unwrap();
    let judged = QUALITY.map(|object| data.as_object_mut().unwrap().remove(object).is_some());
    assert_eq!(judged, [true; 4]);
    assert_eq!(strategy.data.strategy_analysis.unwrap().filled_fields, 5);
    assert_eq!(strategy.data.quality_indicators.unwrap().overall_quality_score, 86.0);
    assert_eq!(
        data,
        serde_json::json!({
            "kind": "STRATEGY_KIND_LEGACY", "strategy_id": "4", "strategy_name": "Plan", "user_id": "1",
            "industry": "finance", "target_audience": "savers", "content_pillars": ["a", "b", "c", "d"],
            "pillars": pillars,
            "ai_recommendations": [{"type": "x"}], "business_goals": [],
            "created_at": "2025-01-02T03:04:05Z", "updated_at": "2025-01-02T03:04:05.250Z"
        })
    );
}

/// Fills every column of the table that can be filled.
async fn fill(tables: &SourceTables, id: i32, of: &str) {
    let columns = ENHANCED_STRATEGIES.columns().filter_map(|(name, family)| match family {
        Family::Json => Some((name, format!("'[\"{name}\", \"b\", \"c\"]'"))),
        Family::Text if name == "user_id" => None,
        Family::Text => Some((name, format!("'{name}'"))),
        Family::Time => Some((name, "'2025-01-02 03:04:05'".to_owned())),
        Family::Double => Some((name, "250.5".to_owned())),
        Family::Boolean => Some((name, "FALSE".to_owned())),
        Family::Integer if name == "id" => None,
        Family::Integer => Some((name, "3".to_owned())),
    });
    let (names, values): (Vec<&str>, Vec<String>) = columns.unzip();
    tables
        .execute(&format!(
            "INSERT INTO enhanced_content_strategies (id, user_id, {}) VALUES ({id}, '{of}', {})",
            names.join(", "),
            values.join(", ")
        ))
        .await;
}

#[tokio::test]
async fn a_filled_enhanced_strategy_carries_every_column_under_its_own_name() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    fill(&tables, 7, "demo_anna").await;
    tables
        .execute(
            "INSERT INTO strategy_performance_metrics
               (id, strategy_id, user_id, metric_date, roi_ratio, confidence_score) VALUES
               (1, 7, 'demo_anna', '2025-01-01 00:00:00', 1, 1), (2, 7, 'demo_anna', '2025-02-01 00:00:00', 3, NULL),
               (3, 7, 'somebody', '2025-03-01 00:00:00', 9, 9), (4, 7, 'demo_anna', NULL, 8, 8)",
        )
        .await;
    let (strategy, warnings) = read(&tables, "demo_anna").await;
    assert!(warnings.is_empty(), "{warnings:?}");

    let data = serde_json::to_value(&strategy.data).unwrap();
    for (column, family) in ENHANCED_STRATEGIES.columns() {
        let (name, expected) = match (family, column) {
            (Family::Json, _) => (column, serde_json::json!([column, "b", "c"])),
            (Family::Text, "name") => ("strategy_name", "name".into()),
            (Family::Text, "user_id") => (column, "demo_anna".into()),
            (Family::Text, _) => (column, column.into()),
            (Family::Time, _) => (column, "2025-01-02T03:04:05Z".into()),
            // Clamped.
            (Family::Double, "completion_percentage") => (column, 100.0.into()),
            (Family::Double, _) => (column, 250.5.into()),
            (Family::Boolean, _) => (column, false.into()),
            (Family::Integer, "id") => ("strategy_id", "7".into()),
            (Family::Integer, _) => (column, 3.into()),
        };
        assert_eq!(data[name], expected, "{name}");
    }
    assert_eq!(data["business_goals"], serde_json::json!(["business_objectives", "b", "c"]));
    assert!(strategy.data.activation_status.is_none());
    assert_eq!(data["strategy_analysis"]["filled_fields"], 35);
    assert_eq!(data["data_completeness"]["overall_completeness"], 100.0);
    assert_eq!(data["strategic_alignment"]["overall_alignment_score"], 82.5);

    tables.execute("UPDATE enhanced_content_strategies SET performance_metrics = '[]'").await;
    let (recorded, _) = read(&tables, "demo_anna").await;
    let recorded = serde_json::to_value(&recorded.data.performance_metrics).unwrap();
    assert_eq!(recorded, serde_json::json!({"roi_ratio": 3}), "without figures of the user, the recorded ones");

    let document = document(Some(&strategy));
    assert_eq!(document.strategy_analysis, strategy.data.strategy_analysis);
    assert_eq!(document.quality_indicators, strategy.data.quality_indicators);
    let alone = ComprehensiveUserData {
        strategy_data: Some(strategy.data.clone()),
        strategy_analysis: strategy.data.strategy_analysis.clone(),
        quality_indicators: strategy.data.quality_indicators,
        ..ComprehensiveUserData::default()
    };
    assert_eq!(document, alone);
    assert_eq!(super::document(None), ComprehensiveUserData::default());
}

#[tokio::test]
async fn odd_columns_are_absent_and_never_fail() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    tables.execute("INSERT INTO enhanced_content_strategies (id, user_id, name) VALUES (1, '1', 'odd')").await;
    let large = format!("'\"{}\"'", "x".repeat(COLUMN_BYTES_MAX));
    let deep = format!("'{}{}'", "[".repeat(25), "]".repeat(25));
    let malformed = vec!["MALFORMED_COLUMN enhanced_content_strategies.market_gaps".to_owned()];
    for (stored, expected, warned) in [
        ("NULL", None, false),
        ("'null'", None, false),
        ("'85'", Some(serde_json::json!(85)), false),
        ("'\"text\"'", Some(serde_json::json!("text")), false),
        ("'[]'", Some(serde_json::json!([])), false),
        (r#"'"a\u0000b"'"#, Some(serde_json::json!("a\u{fffd}b")), false),
        (r#"'"\ud800"'"#, None, true),
        (&large, None, true),
        (&deep, None, true),
        ("'{broken'", None, true),
    ] {
        tables.execute(&format!("UPDATE enhanced_content_strategies SET market_gaps = {stored}")).await;
        let (strategy, warnings) = read(&tables, "1").await;
        assert_eq!(strategy.data.market_gaps, expected.map(Into::into), "{stored:.40}");
        assert_eq!(warnings, if warned { malformed.clone() } else { Vec::new() }, "{stored:.40}");
    }

    tables.execute("UPDATE enhanced_content_strategies SET market_gaps = '[NaN, 1]'").await;
    let (strategy, warnings) = read(&tables, "1").await;
    assert_eq!(strategy.data.market_gaps, Some(serde_json::json!([null, 1]).into()));
    assert_eq!(warnings, ["NOT_A_NUMBER enhanced_content_strategies.market_gaps"]);

    tables
        .execute(
            "UPDATE enhanced_content_strategies
             SET market_gaps = NULL, team_size = 3000000000, created_at = 'yesterday', completion_percentage = -3",
        )
        .await;
    let (strategy, warnings) = read(&tables, "1").await;
    assert_eq!((strategy.data.team_size, strategy.data.completion_percentage), (None, Some(0.0)));
    assert_eq!(
        warnings,
        [
            "MALFORMED_COLUMN enhanced_content_strategies.created_at",
            "OUT_OF_RANGE enhanced_content_strategies.team_size"
        ]
    );
}

#[tokio::test]
async fn resolving_statements_use_the_indexes() {
    let tables = SourceTables::create(COLUMN_BYTES_MAX).await;
    let reading = tables.reading().await;
    let enhanced = |id: Option<i32>| ["1".into(), id.into(), reading.json_bytes_max()];
    let (newest, asked) = ([1.into(), reading.json_bytes_max()], [1.into(), reading.json_bytes_max(), 1.into()]);
    for (plan, index) in [
        (reading.plan(ENHANCED_STRATEGY, enhanced(None)).await, "ix_enhanced_strategies_user (user_id=?)"),
        (
            reading.plan(ENHANCED_STRATEGY, enhanced(None)).await,
            "ix_strategy_activation_strategy (strategy_id=? AND status=?)",
        ),
        (reading.plan(ENHANCED_STRATEGY, enhanced(Some(1))).await, "INTEGER PRIMARY KEY (rowid=?)"),
        (reading.plan(NEWEST_LEGACY_STRATEGY, newest).await, "ix_content_strategies_user (user_id=?)"),
        (reading.plan(LEGACY_STRATEGY, asked).await, "INTEGER PRIMARY KEY (rowid=?)"),
    ] {
        assert!(plan.contains(index), "{index} in\n{plan}");
        assert!(!plan.contains("SCAN e"), "{plan}");
    }
}
