//! A strategy's row as the contract's message: columns as stored, pillars and goals in one shape,
//! and the quality objects.

use serde_json::Value as Json;

use super::{
    super::{
        rows::{Strategy, StrategyRow},
        value::{pillars, strings},
    },
    quality,
    statements::FoundStrategy,
};
use crate::{
    model::UserId,
    proto::{
        Struct, Value,
        v1::{Pillar, StrategyData},
    },
};

/// The strategy with its message.
pub(super) fn strategy(user: &UserId, found: FoundStrategy) -> Strategy {
    let pillars = pillars(&found.row.content_pillars);
    Strategy { resolved: found.resolved, data: data(user, &found, pillars.clone()), pillars, row: found.row }
}

fn data(user: &UserId, found: &FoundStrategy, pillars: Vec<Pillar>) -> StrategyData {
    let row = &found.row;
    let quality = quality::judge(row, pillars.len());
    StrategyData {
        kind: found.resolved.kind.into(),
        strategy_id: found.resolved.id.into(),
        strategy_name: row.name.clone(),
        user_id: user.to_string(),
        industry: row.industry.clone(),
        target_audience: stored(&row.target_audience),
        content_pillars: stored(&row.content_pillars),
        pillars,
        ai_recommendations: stored(&row.ai_recommendations),
        business_goals: strings(&row.business_objectives),
        created_at: row.created_at.map(Into::into),
        updated_at: row.updated_at.map(Into::into),
        activation_status: found.activation,
        completion_percentage: row.completion_percentage.map(|percentage| percentage.clamp(0.0, 100.0)),
        business_objectives: stored(&row.business_objectives),
        target_metrics: stored(&row.target_metrics),
        content_budget: row.content_budget,
        team_size: row.team_size,
        implementation_timeline: row.implementation_timeline.clone(),
        market_share: row.market_share.clone(),
        competitive_position: row.competitive_position.clone(),
        performance_metrics: performance_metrics(row),
        content_preferences: stored(&row.content_preferences),
        consumption_patterns: stored(&row.consumption_patterns),
        audience_pain_points: stored(&row.audience_pain_points),
        buying_journey: stored(&row.buying_journey),
        seasonal_trends: stored(&row.seasonal_trends),
        engagement_metrics: stored(&row.engagement_metrics),
        top_competitors: stored(&row.top_competitors),
        competitor_content_strategies: stored(&row.competitor_content_strategies),
        market_gaps: stored(&row.market_gaps),
        industry_trends: stored(&row.industry_trends),
        emerging_trends: stored(&row.emerging_trends),
        preferred_formats: stored(&row.preferred_formats),
        content_mix: stored(&row.content_mix),
        content_frequency: row.content_frequency.clone(),
        optimal_timing: stored(&row.optimal_timing),
        quality_metrics: stored(&row.quality_metrics),
        editorial_guidelines: stored(&row.editorial_guidelines),
        brand_voice: stored(&row.brand_voice),
        traffic_sources: stored(&row.traffic_sources),
        conversion_rates: stored(&row.conversion_rates),
        content_roi_targets: stored(&row.content_roi_targets),
        ab_testing_capabilities: row.ab_testing_capabilities,
        comprehensive_ai_analysis: stored(&row.comprehensive_ai_analysis),
        onboarding_data_used: stored(&row.onboarding_data_used),
        strategic_scores: stored(&row.strategic_scores),
        market_positioning: stored(&row.market_positioning),
        competitive_advantages: stored(&row.competitive_advantages),
        strategic_risks: stored(&row.strategic_risks),
        opportunity_analysis: stored(&row.opportunity_analysis),
        data_source_transparency: stored(&row.data_source_transparency),
        strategy_analysis: Some(quality.strategy_analysis),
        quality_indicators: Some(quality.quality_indicators),
        data_completeness: Some(quality.data_completeness),
        strategic_alignment: Some(quality.strategic_alignment),
    }
}

/// A column as stored; only NULL (and what counts as it) is absent, an empty list is a value.
fn stored(column: &Json) -> Option<Value> {
    (!column.is_null()).then(|| column.clone().into())
}

fn performance_metrics(row: &StrategyRow) -> Option<Struct> {
    row.performance_metrics.as_object().map(|metrics| metrics.clone().into())
}
