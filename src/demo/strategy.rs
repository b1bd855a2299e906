//! Strategies of both kinds, their activations and their metrics.

use serde_json::json;

use super::{
    audience::{audience, pillars},
    batch::{Cell, RowBatch},
    draw::Draw,
    enhanced,
    user::{Story, User},
    words::capitalised,
};
use crate::source_schema::{LEGACY_STRATEGIES, STRATEGY_ACTIVATIONS, STRATEGY_METRICS};

/// Positions of strategies within a user's block of ids.
const LEGACY_STRATEGY: i32 = 1;
const FIRST_ENHANCED: i32 = 2;
const SECOND_ENHANCED: i32 = 3;

/// Returns the legacy strategy, to which calendar and analytics belong.
pub(super) fn describe(user: &User, draw: &mut Draw, batch: &mut RowBatch) -> Option<i32> {
    let legacy = user.number().map(|number| legacy(user, number, draw, batch));
    if user.story == Story::LegacyOnly {
        return legacy;
    }
    if user.turn % 5 != 0 || user.story == Story::Twins {
        let strategy = user.strategy(FIRST_ENHANCED);
        enhanced::add(user, strategy, "Growth plan", draw, batch);
        activate(user, strategy, draw, batch);
        metrics(user, strategy, draw, batch);
    }
    if user.turn % 3 == 0 {
        enhanced::add(user, user.strategy(SECOND_ENHANCED), "Draft for next year", draw, batch);
    }
    legacy
}

fn legacy(user: &User, number: i32, draw: &mut Draw, batch: &mut RowBatch) -> i32 {
    // One user has strategies of both kinds with the same id: the enhanced one is meant.
    let place = if user.story == Story::Twins { FIRST_ENHANCED } else { LEGACY_STRATEGY };
    let strategy = user.strategy(place);
    let days = draw.between(150, 300);
    let recommendations = json!([
        {"title": format!("Start with {}", user.industry().topics[0]), "priority": "high"},
        {"title": "Repeat what worked last quarter", "priority": "medium"},
    ]);
    batch.add(
        &LEGACY_STRATEGIES,
        [
            ("id", strategy.into()),
            ("user_id", number.into()),
            ("name", format!("{} basics", user.company()).into()),
            ("industry", capitalised(user.industry().name).into()),
            ("target_audience", audience(user).into()),
            ("content_pillars", pillars(user, draw).into()),
            ("ai_recommendations", recommendations.into()),
            ("created_at", user.days_ago(days, 9).into()),
            ("updated_at", user.days_ago(days - 100, 9).into()),
        ],
    );
    strategy
}

/// Users with text ids have no activation, because the table's user ids are integers.
fn activate(user: &User, strategy: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let Some(number) = user.number() else { return };
    let days = draw.between(20, 90);
    let dates = if user.story == Story::Twins { vec![None, Some(days)] } else { vec![Some(days)] };
    for (n, days) in (1..).zip(dates) {
        let activated = Cell::Time(days.map(|days| user.days_ago(days, 10)));
        let (score, updated) = (draw.between(55, 95), user.days_ago(draw.between(1, 15), 10));
        batch.add(
            &STRATEGY_ACTIVATIONS,
            [
                ("id", user.row(n).into()),
                ("strategy_id", strategy.into()),
                ("user_id", number.into()),
                ("activation_date", activated),
                ("status", "active".into()),
                ("performance_score", score.into()),
                ("last_updated", updated.into()),
            ],
        );
    }
}

/// 3 to 6 rows, two weeks apart.
fn metrics(user: &User, strategy: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let mut days = 3;
    for n in 1..=draw.count(3, 6) {
        let when = user.days_ago(days, 1);
        batch.add(
            &STRATEGY_METRICS,
            [
                ("id", user.row(n).into()),
                ("strategy_id", strategy.into()),
                ("user_id", user.id.into()),
                ("metric_date", when.into()),
                ("traffic_growth_percentage", draw.between(-5, 30).into()),
                ("engagement_rate_percentage", draw.between(1, 12).into()),
                ("conversion_rate_percentage", draw.between(1, 6).into()),
                ("roi_ratio", draw.between(1, 5).into()),
                ("strategy_adoption_rate", draw.between(40, 95).into()),
                ("content_quality_score", draw.between(60, 95).into()),
                ("competitive_position_rank", draw.between(1, 8).into()),
                ("audience_growth_percentage", draw.between(0, 20).into()),
                ("confidence_score", draw.between(60, 90).into()),
                ("data_source", "analytics import".into()),
                ("created_at", when.into()),
                ("updated_at", when.into()),
            ],
        );
        days += 14;
    }
}
