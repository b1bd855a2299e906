//! A legacy strategy, and what hangs on it or on its user: calendar, analytics, recommendations, a gap row.

use serde_json::json;

use super::{Planning, Who, batch::Rows, onboarding::SITE};

/// `number` keeps the ids of two users apart.
pub(super) fn planned(planning: &Planning, who: Who, number: i32, rows: &mut Rows) {
    let user = planning.ids.of(who);
    rows.add("content_strategies")
        .set("id", number)
        .set("user_id", user)
        .set("name", "First plan")
        .set("industry", "Energy")
        .json("target_audience", json!(["homeowners", "tenants"]))
        .json("content_pillars", json!([{"name": "Basics"}, {"name": "Prices"}]))
        .json("ai_recommendations", json!({"next": "Publish weekly"}))
        .set("created_at", planning.at(85, 14))
        .set("updated_at", planning.at(60, 14));
    calendar(planning, who, number, rows);
    analytics(planning, number, rows);
    gaps(planning, user, number, rows);
    recommendations(planning, user, number, rows);
}

/// Events that are older than their own `user_id` have an empty one, by the application's migration.
fn calendar(planning: &Planning, who: Who, number: i32, rows: &mut Rows) {
    for (event, title, platform, status) in [
        (1, "Saving without buying", "website", "published"),
        (2, "What a heat pump costs", "linkedin", "scheduled"),
        (3, "An old idea", "website", "cancelled"),
    ] {
        rows.add("calendar_events")
            .set("id", number * 10 + event)
            .set("user_id", if who == Who::LegacyOnly { "" } else { planning.ids.of(who) })
            .set("strategy_id", number)
            .set("title", title)
            .set("description", "For readers who pay for heating")
            .set("content_type", "blog_post")
            .set("platform", platform)
            .set("scheduled_date", planning.at(30, 8))
            .set("status", status)
            .set("created_at", planning.at(45, 8))
            .set("updated_at", planning.at(44, 8));
    }
}

/// Six rows: of the strategy, and of an event without naming the strategy.
fn analytics(planning: &Planning, number: i32, rows: &mut Rows) {
    for (row, days) in [(1_i32, 2), (2, 5), (3, 10), (4, 20), (5, 25), (6, 60)] {
        let of_event = row % 2 == 0;
        let analytics = rows.add("content_analytics");
        analytics
            .set("id", number * 10 + row)
            .set("platform", if of_event { "linkedin" } else { "website" })
            .json("metrics", json!({"engagement_rate": 0.04, "conversion_rate": 0.02, "click_through_rate": 0.11, "reach": 1200 + row}))
            .set("performance_score", 0.5 + f64::from(row) / 20.0)
            .set("recorded_at", planning.at(days, 11));
        if of_event {
            analytics.set("event_id", number * 10 + 2);
        } else {
            analytics.set("strategy_id", number).set("event_id", number * 10 + 1);
        }
    }
}

fn gaps(planning: &Planning, user: &str, number: i32, rows: &mut Rows) {
    rows.add("content_gap_analyses")
        .set("id", number)
        .set("user_id", user)
        .set("website_url", SITE)
        .json("competitor_urls", json!(["https://www.warmth.example"]))
        .json("target_keywords", json!(["heat pump cost", "home subsidy"]))
        .json("analysis_results", json!({
            "keyword_opportunities": [
                {"keyword": "email automation", "search_volume": 2400, "competition": "low", "opportunity_score": 80},
            ],
            "content_gaps": [{"topic": "Maintenance contracts", "gap_score": 62, "opportunity_size": "high"}],
        }))
        .json("recommendations", json!([{"type": "content", "title": "Write on maintenance", "priority": "high"}]))
        .json("opportunities", json!([{"title": "Maintenance series", "priority": "medium"}]))
        .set("created_at", planning.at(33, 9))
        .set("updated_at", planning.at(32, 9));
}

fn recommendations(planning: &Planning, user: &str, number: i32, rows: &mut Rows) {
    for (row, title, priority, status) in
        [(1, "Compare three pumps", "high", "pending"), (2, "Say no to this", "low", "rejected")]
    {
        rows.add("content_recommendations")
            .set("id", number * 10 + row)
            .set("strategy_id", number)
            .set("user_id", user)
            .set("recommendation_type", "blog_post")
            .set("title", title)
            .set("description", "Readers ask for it")
            .json("target_keywords", json!(["heat pump comparison"]))
            .set("estimated_length", "1500 words")
            .set("priority", priority)
            .json("platforms", json!(["website"]))
            .set("estimated_performance", "good")
            .set("status", status)
            .set("created_at", planning.at(28, 9))
            .set("updated_at", planning.at(27, 9));
    }
}
