//! The four quality objects: pure counts of what is filled in, after data.md section 6.
//!
//! The kind is not asked for: what a LEGACY strategy does not have is absent in its row, and absent
//! counts as unfilled.

#[cfg(test)]
mod tests;

use serde_json::Value as Json;

use super::super::{
    rows::StrategyRow,
    value::{filled, round},
};
use crate::proto::v1::{DataCompleteness, QualityIndicators, StrategicAlignment, StrategyAnalysis};

/// What is said about one strategy.
#[derive(Debug)]
pub(super) struct Quality {
    pub(super) strategy_analysis: StrategyAnalysis,
    pub(super) quality_indicators: QualityIndicators,
    pub(super) data_completeness: DataCompleteness,
    pub(super) strategic_alignment: StrategicAlignment,
}

/// Judges a strategy that has so many pillars.
pub(super) fn judge(row: &StrategyRow, pillars: usize) -> Quality {
    let groups = Groups::of(row);
    let strategy_analysis = strategy_analysis(row, &groups);
    Quality {
        quality_indicators: quality_indicators(row, &groups, pillars, strategy_analysis.strategy_coherence),
        strategy_analysis,
        data_completeness: data_completeness(&groups),
        strategic_alignment: strategic_alignment(row),
    }
}

/// Which inputs are filled, by group, in the order of the columns.
struct Groups {
    basic: [bool; 5],
    business: [bool; 8],
    audience: [bool; 6],
    competition: [bool; 5],
    content: [bool; 7],
    performance: [bool; 4],
}

impl Groups {
    fn of(row: &StrategyRow) -> Self {
        Self {
            basic: [
                !row.name.trim().is_empty(),
                worded(&row.industry),
                filled(&row.target_audience),
                filled(&row.content_pillars),
                filled(&row.ai_recommendations),
            ],
            business: [
                filled(&row.business_objectives),
                filled(&row.target_metrics),
                row.content_budget.is_some(),
                row.team_size.is_some(),
                worded(&row.implementation_timeline),
                worded(&row.market_share),
                worded(&row.competitive_position),
                filled(&row.performance_metrics),
            ],
            audience: all_filled([
                &row.content_preferences,
                &row.consumption_patterns,
                &row.audience_pain_points,
                &row.buying_journey,
                &row.seasonal_trends,
                &row.engagement_metrics,
            ]),
            competition: all_filled([
                &row.top_competitors,
                &row.competitor_content_strategies,
                &row.market_gaps,
                &row.industry_trends,
                &row.emerging_trends,
            ]),
            content: [
                filled(&row.preferred_formats),
                filled(&row.content_mix),
                worded(&row.content_frequency),
                filled(&row.optimal_timing),
                filled(&row.quality_metrics),
                filled(&row.editorial_guidelines),
                filled(&row.brand_voice),
            ],
            performance: [
                filled(&row.traffic_sources),
                filled(&row.conversion_rates),
                filled(&row.content_roi_targets),
                row.ab_testing_capabilities.is_some(),
            ],
        }
    }

    /// Filled inputs of the five groups that only an ENHANCED strategy has.
    fn enhanced(&self) -> usize {
        count(&self.business)
            + count(&self.audience)
            + count(&self.competition)
            + count(&self.content)
            + count(&self.performance)
    }
}

/// Inputs of the five groups that only an ENHANCED strategy has.
const ENHANCED_INPUTS: usize = 30;
/// Those and the basic five.
const INPUTS: usize = 35;

fn strategy_analysis(row: &StrategyRow, groups: &Groups) -> StrategyAnalysis {
    let filled_inputs = count(&groups.basic) + groups.enhanced();
    let core = [
        filled(&row.business_objectives),
        worded(&row.content_frequency),
        filled(&row.audience_pain_points),
        filled(&row.content_mix),
        filled(&row.editorial_guidelines),
        filled(&row.brand_voice),
    ];
    let [name, industry, target_audience, content_pillars, _] = groups.basic;
    let critical = [
        ("basic_name", name),
        ("basic_industry", industry),
        ("basic_target_audience", target_audience),
        ("basic_content_pillars", content_pillars),
        ("enhanced_business_objectives", filled(&row.business_objectives)),
        ("enhanced_content_frequency", worded(&row.content_frequency)),
        ("enhanced_audience_pain_points", filled(&row.audience_pain_points)),
    ];
    StrategyAnalysis {
        completion_percentage: percent(filled_inputs, INPUTS),
        filled_fields: filled_inputs as i32,
        total_fields: INPUTS as i32,
        missing_critical_fields: critical
            .iter()
            .filter(|(_, there)| !there)
            .map(|(field, _)| (*field).into())
            .collect(),
        data_quality_score: round(
            0.4 * 100.0 * count(&groups.basic) as f64 / 5.0 + 0.6 * 100.0 * count(&core) as f64 / 6.0,
            2,
        ),
        strategy_coherence: strategy_coherence(row),
    }
}

/// 25 for each pair of inputs that belong together and are both there.
fn strategy_coherence(row: &StrategyRow) -> i32 {
    let pairs = [
        (&row.content_pillars, &row.business_objectives),
        (&row.target_audience, &row.audience_pain_points),
        (&row.content_mix, &row.preferred_formats),
        (&row.editorial_guidelines, &row.brand_voice),
    ];
    pairs.into_iter().map(|(a, b)| if filled(a) && filled(b) { 25 } else { 0 }).sum()
}

fn quality_indicators(row: &StrategyRow, groups: &Groups, pillars: usize, coherence: i32) -> QualityIndicators {
    let data_completeness = percent(count(&groups.basic[..4]), 4);
    let audience = filled(&row.target_audience);
    let strategic_alignment = if filled(&row.content_pillars) && audience { 85 } else { 30 };
    let market_relevance = if worded(&row.industry) { 80 } else { 40 };
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
        competitive_positioning: percent(count(&groups.competition), 5),
        performance_readiness: percent(count(&groups.performance), 4),
        overall_quality_score: round((data_completeness + f64::from(whole)) / 5.0, 2),
    }
}

fn data_completeness(groups: &Groups) -> DataCompleteness {
    DataCompleteness {
        business_context: percent(count(&groups.business), 8),
        audience_intelligence: percent(count(&groups.audience), 6),
        competitive_intelligence: percent(count(&groups.competition), 5),
        content_strategy: percent(count(&groups.content), 7),
        performance_analytics: percent(count(&groups.performance), 4),
        overall_completeness: percent(groups.enhanced(), ENHANCED_INPUTS),
    }
}

fn strategic_alignment(row: &StrategyRow) -> StrategicAlignment {
    let pillars = filled(&row.content_pillars);
    let objectives = if filled(&row.business_objectives) && pillars { 85 } else { 40 };
    let audience = if filled(&row.target_audience) && filled(&row.audience_pain_points) { 90 } else { 50 };
    let content = if pillars && filled(&row.content_mix) { 80 } else { 45 };
    let positioning = if worded(&row.competitive_position) && filled(&row.market_gaps) { 75 } else { 35 };
    StrategicAlignment {
        business_objectives_alignment: objectives,
        audience_strategy_alignment: audience,
        content_strategy_alignment: content,
        competitive_positioning_alignment: positioning,
        overall_alignment_score: round(f64::from(objectives + audience + content + positioning) / 4.0, 2),
    }
}

fn worded(column: &Option<String>) -> bool {
    column.as_ref().is_some_and(|text| !text.trim().is_empty())
}

fn all_filled<const N: usize>(columns: [&Json; N]) -> [bool; N] {
    columns.map(filled)
}

fn count(inputs: &[bool]) -> usize {
    inputs.iter().filter(|there| **there).count()
}

fn percent(part: usize, whole: usize) -> f64 {
    round(100.0 * part as f64 / whole as f64, 2)
}
