//! Strategies of both kinds, which of them is active, and their monthly figures.

use serde_json::json;

use super::{
    audience::{audience, pillars},
    batch::{Cell, RowBatch, Table},
    draw::Draw,
    enhanced,
    user::{Story, User},
    words::capitalised,
};

static LEGACY: Table<9> = Table {
    name: "content_strategies",
    columns: [
        "id",
        "user_id",
        "name",
        "industry",
        "target_audience",
        "content_pillars",
        "ai_recommendations",
        "created_at",
        "updated_at",
    ],
};

static ACTIVATIONS: Table<7> = Table {
    name: "strategy_activation_status",
    columns: ["id", "strategy_id", "user_id", "activation_date", "status", "performance_score", "last_updated"],
};

static METRICS: Table<16> = Table {
    name: "strategy_performance_metrics",
    columns: [
        "id",
        "strategy_id",
        "user_id",
        "metric_date",
        "traffic_growth_percentage",
        "engagement_rate_percentage",
        "conversion_rate_percentage",
        "roi_ratio",
        "strategy_adoption_rate",
        "content_quality_score",
        "competitive_position_rank",
        "audience_growth_percentage",
        "confidence_score",
        "data_source",
        "created_at",
        "updated_at",
    ],
};

/// Numbers of strategies within a user's block.
const LEGACY_STRATEGY: i32 = 1;
const FIRST_ENHANCED: i32 = 2;
const SECOND_ENHANCED: i32 = 3;

/// Returns the legacy strategy, on which calendar and analytics hang.
pub(super) fn describe(user: &User, draw: &mut Draw, batch: &mut RowBatch) -> Option<i32> {
    let legacy = user.number().map(|number| legacy(user, number, draw, batch));
    if user.story == Story::LegacyOnly {
        return legacy;
    }
    if user.turn % 5 != 0 || user.story == Story::Twins {
        let strategy = user.strategy(FIRST_ENHANCED);
        enhanced::add(user, strategy, "Growth plan", draw, batch);
        activate(user, strategy, draw, batch);
        measure(user, strategy, draw, batch);
    }
    if user.turn % 3 == 0 {
        enhanced::add(user, user.strategy(SECOND_ENHANCED), "Draft for next year", draw, batch);
    }
    legacy
}

fn legacy(user: &User, number: i32, draw: &mut Draw, batch: &mut RowBatch) -> i32 {
    // Only once do both kinds share a number: the enhanced one is meant then.
    let place = if user.story == Story::Twins { FIRST_ENHANCED } else { LEGACY_STRATEGY };
    let strategy = user.strategy(place);
    let days = draw.between(150, 300);
    let recommendations = json!([
        {"title": format!("Start with {}", user.industry().topics[0]), "priority": "high"},
        {"title": "Repeat what worked last quarter", "priority": "medium"},
    ]);
    batch.add(
        &LEGACY,
        [
            strategy.into(),
            number.into(),
            format!("{} basics", user.company()).into(),
            capitalised(user.industry().name).into(),
            audience(user).into(),
            pillars(user, draw).into(),
            recommendations.into(),
            user.days_ago(days, 9).into(),
            user.days_ago(days - 100, 9).into(),
        ],
    );
    strategy
}

/// Text ids stay inactive: activations know integer users only.
fn activate(user: &User, strategy: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let Some(number) = user.number() else { return };
    let days = draw.between(20, 90);
    let dates = if user.story == Story::Twins { vec![None, Some(days)] } else { vec![Some(days)] };
    for (n, days) in (1..).zip(dates) {
        let activated = Cell::Time(days.map(|days| user.days_ago(days, 10)));
        let (score, updated) = (draw.between(55, 95), user.days_ago(draw.between(1, 15), 10));
        batch.add(
            &ACTIVATIONS,
            [
                user.row(n).into(),
                strategy.into(),
                number.into(),
                activated,
                "active".into(),
                score.into(),
                updated.into(),
            ],
        );
    }
}

/// 3 to 6 measurements, a fortnight apart.
fn measure(user: &User, strategy: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let mut days = 3;
    for n in 1..=draw.count(3, 6) {
        let when = user.days_ago(days, 1);
        batch.add(
            &METRICS,
            [
                user.row(n).into(),
                strategy.into(),
                user.id.into(),
                when.into(),
                draw.between(-5, 30).into(),
                draw.between(1, 12).into(),
                draw.between(1, 6).into(),
                draw.between(1, 5).into(),
                draw.between(40, 95).into(),
                draw.between(60, 95).into(),
                draw.between(1, 8).into(),
                draw.between(0, 20).into(),
                draw.between(60, 90).into(),
                "analytics import".into(),
                when.into(),
                when.into(),
            ],
        );
        days += 14;
    }
}
