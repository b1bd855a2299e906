//! The four quality objects: pure counts of what is filled in, after data.md section 6.
//!
//! A strategy's kind plays no part: a column that a LEGACY strategy does not have is absent in its row, and absent
//! counts as unfilled.

#[cfg(test)]
mod tests;

use serde_json::Value as Json;

use super::super::value::{filled, round};
use crate::proto::v1::{DataCompleteness, QualityIndicators, StrategicAlignment, StrategyAnalysis};

/// The quality objects of one strategy.
#[derive(Debug)]
pub(super) struct Quality {
    pub(super) strategy_analysis: StrategyAnalysis,
    pub(super) quality_indicators: QualityIndicators,
    pub(super) data_completeness: DataCompleteness,
    pub(super) strategic_alignment: StrategicAlignment,
}

const BASIC: [&str; 5] = ["name", "industry", "target_audience", "content_pillars", "ai_recommendations"];
const BUSINESS: [&str; 8] = [
    "business_objectives",
    "target_metrics",
    "content_budget",
    "team_size",
    "implementation_timeline",
    "market_share",
    "competitive_position",
    "performance_metrics",
];
const AUDIENCE: [&str; 6] = [
    "content_preferences",
    "consumption_patterns",
    "audience_pain_points",
    "buying_journey",
    "seasonal_trends",
    "engagement_metrics",
];
const COMPETITION: [&str; 5] =
    ["top_competitors", "competitor_content_strategies", "market_gaps", "industry_trends", "emerging_trends"];
const CONTENT: [&str; 7] = [
    "preferred_formats",
    "content_mix",
    "content_frequency",
    "optimal_timing",
    "quality_metrics",
    "editorial_guidelines",
    "brand_voice",
];
const PERFORMANCE: [&str; 4] =
    ["traffic_sources", "conversion_rates", "content_roi_targets", "ab_testing_capabilities"];
/// Inputs of the five groups that only an ENHANCED strategy has.
const ENHANCED_INPUTS: usize = 30;
/// Those and the basic five.
const INPUTS: usize = 35;

/// The inputs that weigh most.
const CORE: [&str; 6] = [
    "business_objectives",
    "content_frequency",
    "audience_pain_points",
    "content_mix",
    "editorial_guidelines",
    "brand_voice",
];
/// The inputs that are listed if they are missing, with the group that the planning application puts them in.
const CRITICAL: [(&str, &str); 7] = [
    ("basic", "name"),
    ("basic", "industry"),
    ("basic", "target_audience"),
    ("basic", "content_pillars"),
    ("enhanced", "business_objectives"),
    ("enhanced", "content_frequency"),
    ("enhanced", "audience_pain_points"),
];
/// Inputs that belong together.
const PAIRS: [[&str; 2]; 4] = [
    ["content_pillars", "business_objectives"],
    ["target_audience", "audience_pain_points"],
    ["content_mix", "preferred_formats"],
    ["editorial_guidelines", "brand_voice"],
];

/// The quality of a strategy with this number of pillars.
pub(super) fn judge(row: &Json, pillars: usize) -> Quality {
    let strategy_analysis = strategy_analysis(row);
    Quality {
        quality_indicators: quality_indicators(row, pillars, strategy_analysis.strategy_coherence),
        strategy_analysis,
        data_completeness: data_completeness(row),
        strategic_alignment: strategic_alignment(row),
    }
}

fn strategy_analysis(row: &Json) -> StrategyAnalysis {
    let filled_inputs = count(row, &BASIC) + enhanced(row);
    let missing = CRITICAL.iter().filter(|(_, input)| !filled(&row[*input]));
    let coherent = PAIRS.iter().filter(|pair| count(row, *pair) == 2).count();
    StrategyAnalysis {
        completion_percentage: percent(filled_inputs, INPUTS),
        filled_fields: filled_inputs as i32,
        total_fields: INPUTS as i32,
        missing_critical_fields: missing.map(|(group, input)| format!("{group}_{input}")).collect(),
        data_quality_score: round(
            0.4 * 100.0 * count(row, &BASIC) as f64 / 5.0 + 0.6 * 100.0 * count(row, &CORE) as f64 / 6.0,
            2,
        ),
        strategy_coherence: 25 * coherent as i32,
    }
}

fn quality_indicators(row: &Json, pillars: usize, coherence: i32) -> QualityIndicators {
    let data_completeness = percent(count(row, &BASIC[..4]), 4);
    let audience = filled(&row["target_audience"]);
    let strategic_alignment = if filled(&row["content_pillars"]) && audience { 85 } else { 30 };
    let market_relevance = if filled(&row["industry"]) { 80 } else { 40 };
    let audience_alignment = if audience { 75 } else { 25 };
    let content_strategy_coherence = if pillars >= 3 { 90 } else { 50 };
    let whole = strategic_alignment + market_relevance + audience_alignment + content_strategy_coherence;
    QualityIndicators {
        data_completeness,
        data_consistency: coherence,
        strategic_alignment,
        market_relevance,
        audience_alignment,
        content_strategy_coherence,
        competitive_positioning: percent(count(row, &COMPETITION), 5),
        performance_readiness: percent(count(row, &PERFORMANCE), 4),
        overall_quality_score: round((data_completeness + f64::from(whole)) / 5.0, 2),
    }
}

fn data_completeness(row: &Json) -> DataCompleteness {
    DataCompleteness {
        business_context: percent(count(row, &BUSINESS), 8),
        audience_intelligence: percent(count(row, &AUDIENCE), 6),
        competitive_intelligence: percent(count(row, &COMPETITION), 5),
        content_strategy: percent(count(row, &CONTENT), 7),
        performance_analytics: percent(count(row, &PERFORMANCE), 4),
        overall_completeness: percent(enhanced(row), ENHANCED_INPUTS),
    }
}

fn strategic_alignment(row: &Json) -> StrategicAlignment {
    let both = |a: &str, b: &str| filled(&row[a]) && filled(&row[b]);
    let objectives = if both("business_objectives", "content_pillars") { 85 } else { 40 };
    let audience = if both("target_audience", "audience_pain_points") { 90 } else { 50 };
    let content = if both("content_pillars", "content_mix") { 80 } else { 45 };
    let positioning = if both("competitive_position", "market_gaps") { 75 } else { 35 };
    StrategicAlignment {
        business_objectives_alignment: objectives,
        audience_strategy_alignment: audience,
        content_strategy_alignment: content,
        competitive_positioning_alignment: positioning,
        overall_alignment_score: round(f64::from(objectives + audience + content + positioning) / 4.0, 2),
    }
}

/// How many of these columns are filled.
fn count(row: &Json, columns: &[&str]) -> usize {
    columns.iter().filter(|column| filled(&row[**column])).count()
}

/// How many inputs are filled of those that only an ENHANCED strategy has.
fn enhanced(row: &Json) -> usize {
    [&BUSINESS[..], &AUDIENCE, &COMPETITION, &CONTENT, &PERFORMANCE].iter().map(|group| count(row, group)).sum()
}

fn percent(part: usize, whole: usize) -> f64 {
    round(100.0 * part as f64 / whole as f64, 2)
}
