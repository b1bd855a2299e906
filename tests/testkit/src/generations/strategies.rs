//! An enhanced strategy with all inputs, its activation and its metrics.

use serde_json::json;

use super::{
    Planning, Who,
    batch::{Row, Rows},
};

pub(super) fn onboarded(planning: &Planning, rows: &mut Rows) {
    let user = planning.ids.of(Who::Onboarded);
    let strategy = rows.add("enhanced_content_strategies");
    strategy
        .set("id", 1)
        .set("user_id", user)
        .set("name", "Lumen autumn")
        .set("industry", "Technology")
        .json("target_audience", json!({"primary": "homeowners", "age": "35-60"}))
        .json("content_pillars", json!([
            {"name": "Saving at home", "description": "Small steps", "percentage": 50, "topics": ["insulation"], "frequency": "weekly"},
            {"name": "Heat pumps", "percentage": 30, "topics": ["noise", "cost"]},
            {"name": "Subsidies", "percentage": 20},
        ]))
        .json("ai_recommendations", json!([{"title": "Lead with savings"}]))
        .set("completion_percentage", 96.4)
        .set("created_at", planning.at(40, 14))
        .set("updated_at", planning.at(35, 14));
    business(strategy);
    audience(strategy);
    content(strategy);
    analyses(strategy);
    rows.add("strategy_activation_status")
        .set("id", 1)
        .set("strategy_id", 1)
        .set("user_id", user)
        .set("activation_date", planning.at(34, 9))
        .set("status", "active")
        .set("performance_score", 74)
        .set("last_updated", planning.at(10, 9));
    for (id, days) in [(1, 20), (2, 5)] {
        rows.add("strategy_performance_metrics")
            .set("id", id)
            .set("strategy_id", 1)
            .set("user_id", user)
            .set("metric_date", planning.at(days, 7))
            .set("traffic_growth_percentage", 10 + id)
            .set("engagement_rate_percentage", 6)
            .set("conversion_rate_percentage", 2)
            .set("roi_ratio", 3)
            .set("strategy_adoption_rate", 80)
            .set("content_quality_score", 85)
            .set("competitive_position_rank", 4)
            .set("audience_growth_percentage", 9)
            .set("confidence_score", 1)
            .set("data_source", "analytics")
            .set("created_at", planning.at(days, 7))
            .set("updated_at", planning.at(days, 7));
    }
}

fn business(strategy: &mut Row) {
    strategy
        .json("business_objectives", json!(["Generate leads", "Keep customers"]))
        .json("target_metrics", json!({"visits": 40000, "leads": 120}))
        .set("content_budget", 2500.5)
        .set("team_size", 3)
        .set("implementation_timeline", "6 months")
        .set("market_share", "4%")
        .set("competitive_position", "challenger")
        .json("performance_metrics", json!({"monthly_traffic": "10k", "conversion_rate": 2.1, "bounce_rate": 48}));
}

fn audience(strategy: &mut Row) {
    strategy
        .json("content_preferences", json!({"media": ["text", "diagrams"]}))
        .json("consumption_patterns", json!({"weekdays": "evenings"}))
        .json("audience_pain_points", json!(["Too many offers", "Unclear subsidies"]))
        .json("buying_journey", json!({"awareness": "search", "decision": "advice call"}))
        .json("seasonal_trends", json!({"autumn": "heating"}))
        .json("engagement_metrics", json!({"comments_per_post": 4}))
        .json("top_competitors", json!(["warmth.example", "sunny.example"]))
        .json("competitor_content_strategies", json!("Daily posts"))
        .json("market_gaps", json!(["Noise of heat pumps"]))
        .json("industry_trends", json!(["Local storage"]))
        .json("emerging_trends", json!(["Balcony solar"]));
}

fn content(strategy: &mut Row) {
    strategy
        .json("preferred_formats", json!(["guides", "short videos"]))
        .json("content_mix", json!({"educational": 60, "stories": 40}))
        .set("content_frequency", "weekly")
        .json("optimal_timing", json!({"days": ["Tuesday"], "hour": "18:00"}))
        .json("quality_metrics", json!({"readability": 60}))
        .json("editorial_guidelines", json!(["Answer first"]))
        .json("brand_voice", json!("Friendly"))
        .json("traffic_sources", json!({"search": 55, "social": 45}))
        .json("conversion_rates", json!({"visitor_to_lead": 0.021}))
        .json("content_roi_targets", json!({"year": 3}))
        .set("ab_testing_capabilities", true);
}

fn analyses(strategy: &mut Row) {
    strategy
        .json(
            "comprehensive_ai_analysis",
            json!({"strategic_insights": {"insights": [{"insight": "Explain costs first"}]}}),
        )
        .json("onboarding_data_used", json!({"website_analysis": true}))
        .json("strategic_scores", json!({"overall": 0.81}))
        .json("market_positioning", json!({"position": "practical specialist"}))
        .json("competitive_advantages", json!([{"advantage": "Own installers", "impact": "High"}]))
        .json("strategic_risks", json!([{"risk": "Two authors", "impact": "Medium"}]))
        .json("opportunity_analysis", json!([{"opportunity": "Noise guide", "potential_impact": "High"}]))
        .json("data_source_transparency", json!({"website_analysis": "onboarding"}));
}
