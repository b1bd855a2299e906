//! A strategy's row as the contract's message: columns as stored, pillars and goals in one shape, and the quality
//! objects.

use serde_json::Value as Json;

use super::{
    super::{
        rows::Strategy,
        value::{from_members, pillars, strings},
    },
    quality,
    statements::FoundStrategy,
};
use crate::{
    model::UserId,
    proto::v1::{ActivationStatus, StrategyData},
};

/// The strategy with its message.
pub(super) fn strategy(user: &UserId, found: FoundStrategy) -> Strategy {
    let FoundStrategy { resolved, row, activation } = found;
    let pillars = pillars(&row["content_pillars"]);
    let data = StrategyData {
        kind: resolved.kind.into(),
        strategy_id: resolved.id.into(),
        user_id: user.to_string(),
        pillars: pillars.clone(),
        ..data(&row, activation, pillars.len())
    };
    Strategy { resolved, pillars, row, data }
}

/// What follows from the columns. The message names them as the table does, except for the strategy's own name and id.
fn data(row: &Json, activation_status: Option<ActivationStatus>, pillars: usize) -> StrategyData {
    let quality = quality::judge(row, pillars);
    let mut columns = row.as_object().cloned().unwrap_or_default();
    columns.remove("id");
    let name = columns.remove("name");
    let stored: StrategyData = from_members(columns);
    StrategyData {
        strategy_name: name.as_ref().and_then(Json::as_str).unwrap_or_default().to_owned(),
        business_goals: strings(&row["business_objectives"]),
        completion_percentage: stored.completion_percentage.map(|percentage| percentage.clamp(0.0, 100.0)),
        activation_status,
        strategy_analysis: Some(quality.strategy_analysis),
        quality_indicators: Some(quality.quality_indicators),
        data_completeness: Some(quality.data_completeness),
        strategic_alignment: Some(quality.strategic_alignment),
        ..stored
    }
}
