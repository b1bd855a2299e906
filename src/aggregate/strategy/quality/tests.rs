//! Checks A and B of data.md section 6, and what lies between them.

use serde_json::json;

use super::*;

fn basics() -> Json {
    json!({
        "name": "Plan",
        "industry": "technology",
        "target_audience": {"primary": "developers"},
        "content_pillars": ["a", "b", "c", "d"],
        "ai_recommendations": ["r"],
    })
}

fn everything() -> Json {
    let mut row = basics();
    for column in AUDIENCE.iter().chain(&COMPETITION).chain(&CONTENT).chain(&PERFORMANCE).chain(&BUSINESS) {
        row[*column] = json!(["x"]);
    }
    for text in ["implementation_timeline", "market_share", "competitive_position", "content_frequency"] {
        row[text] = json!("some");
    }
    row["content_budget"] = json!(0.0);
    row["team_size"] = json!(0);
    row["performance_metrics"] = json!({"roi_ratio": 3});
    row["ab_testing_capabilities"] = json!(false);
    row
}

#[test]
fn check_a_a_legacy_strategy_with_its_basics() {
    let quality = judge(&basics(), 4);
    assert_eq!(
        quality.strategy_analysis,
        StrategyAnalysis {
            completion_percentage: 14.29,
            filled_fields: 5,
            total_fields: 35,
            missing_critical_fields: vec![
                "enhanced_business_objectives".into(),
                "enhanced_content_frequency".into(),
                "enhanced_audience_pain_points".into(),
            ],
            data_quality_score: 40.0,
            strategy_coherence: 0,
        }
    );
    assert_eq!(
        quality.quality_indicators,
        QualityIndicators {
            data_completeness: 100.0,
            data_consistency: 0,
            strategic_alignment: 85,
            market_relevance: 80,
            audience_alignment: 75,
            content_strategy_coherence: 90,
            competitive_positioning: 0.0,
            performance_readiness: 0.0,
            overall_quality_score: 86.0,
        }
    );
    assert_eq!(quality.data_completeness, DataCompleteness::default());
    assert_eq!(
        quality.strategic_alignment,
        StrategicAlignment {
            business_objectives_alignment: 40,
            audience_strategy_alignment: 50,
            content_strategy_alignment: 45,
            competitive_positioning_alignment: 35,
            overall_alignment_score: 42.5,
        }
    );
}

#[test]
fn check_b_an_enhanced_strategy_with_everything_zero_and_false_included() {
    let quality = judge(&everything(), 4);
    assert_eq!(
        quality.strategy_analysis,
        StrategyAnalysis {
            completion_percentage: 100.0,
            filled_fields: 35,
            total_fields: 35,
            missing_critical_fields: Vec::new(),
            data_quality_score: 100.0,
            strategy_coherence: 100,
        }
    );
    assert_eq!(
        quality.quality_indicators,
        QualityIndicators {
            data_completeness: 100.0,
            data_consistency: 100,
            strategic_alignment: 85,
            market_relevance: 80,
            audience_alignment: 75,
            content_strategy_coherence: 90,
            competitive_positioning: 100.0,
            performance_readiness: 100.0,
            overall_quality_score: 86.0,
        }
    );
    assert_eq!(
        quality.data_completeness,
        DataCompleteness {
            business_context: 100.0,
            audience_intelligence: 100.0,
            competitive_intelligence: 100.0,
            content_strategy: 100.0,
            performance_analytics: 100.0,
            overall_completeness: 100.0,
        }
    );
    assert_eq!(
        quality.strategic_alignment,
        StrategicAlignment {
            business_objectives_alignment: 85,
            audience_strategy_alignment: 90,
            content_strategy_alignment: 80,
            competitive_positioning_alignment: 75,
            overall_alignment_score: 82.5,
        }
    );
}

#[test]
fn nothing_filled_misses_every_critical_field() {
    let blank = json!({"name": " ", "industry": "", "target_audience": [], "content_pillars": {}});
    let quality = judge(&blank, 0);
    assert_eq!(quality.strategy_analysis.filled_fields, 0);
    assert_eq!(quality.strategy_analysis.missing_critical_fields.len(), 7);
    assert_eq!(quality.strategy_analysis.missing_critical_fields[0], "basic_name");
    assert_eq!(quality.quality_indicators.data_completeness, 0.0);
    // The mean of 0, 30, 40, 25 and 50.
    assert_eq!(quality.quality_indicators.overall_quality_score, 29.0);
}

#[test]
fn percentages_of_odd_groups_have_two_places() {
    let mut row = basics();
    row["market_gaps"] = json!("gap");
    row["brand_voice"] = json!("calm");
    let quality = judge(&row, 2);
    assert_eq!(quality.data_completeness.competitive_intelligence, 20.0);
    assert_eq!(quality.data_completeness.content_strategy, 14.29);
    assert_eq!(quality.data_completeness.overall_completeness, 6.67);
    assert_eq!(quality.strategy_analysis.completion_percentage, 20.0);
    assert_eq!(quality.strategy_analysis.data_quality_score, 50.0);
    assert_eq!(quality.quality_indicators.content_strategy_coherence, 50);
}
