//! Enhanced strategies: some forty columns, most of them JSON that is passed on as it is.

use serde_json::{Value as Json, json};

use super::{
    audience::{audience, pillars},
    batch::{RowBatch, Table},
    draw::Draw,
    user::User,
    words::{TOPICS_PLANNED, capitalised},
};

static ENHANCED: Table<47> = Table {
    name: "enhanced_content_strategies",
    columns: [
        "id",
        "user_id",
        "name",
        "industry",
        "target_audience",
        "content_pillars",
        "ai_recommendations",
        "business_objectives",
        "target_metrics",
        "content_budget",
        "team_size",
        "implementation_timeline",
        "market_share",
        "competitive_position",
        "content_preferences",
        "consumption_patterns",
        "audience_pain_points",
        "buying_journey",
        "seasonal_trends",
        "engagement_metrics",
        "top_competitors",
        "competitor_content_strategies",
        "market_gaps",
        "industry_trends",
        "emerging_trends",
        "preferred_formats",
        "content_mix",
        "content_frequency",
        "optimal_timing",
        "quality_metrics",
        "editorial_guidelines",
        "brand_voice",
        "traffic_sources",
        "conversion_rates",
        "content_roi_targets",
        "ab_testing_capabilities",
        "comprehensive_ai_analysis",
        "onboarding_data_used",
        "strategic_scores",
        "market_positioning",
        "competitive_advantages",
        "strategic_risks",
        "opportunity_analysis",
        "data_source_transparency",
        "completion_percentage",
        "created_at",
        "updated_at",
    ],
};

pub(super) fn add(user: &User, id: i32, name: &str, draw: &mut Draw, batch: &mut RowBatch) {
    let industry = user.industry();
    let topics = &industry.topics;
    // Not everybody fills in everything.
    let seldom = |json: Json| if user.turn % 4 == 3 { Json::Null } else { json };
    let days = draw.between(30, 140);
    batch.add(
        &ENHANCED,
        [
            id.into(),
            user.id.into(),
            format!("{} {}", user.company(), name.to_lowercase()).into(),
            capitalised(industry.name).into(),
            audience(user).into(),
            pillars(user, draw).into(),
            json!([{"title": format!("Lead with {}", topics[0]), "reason": "It brings most qualified visits."}]).into(),
            json!(draw.some(&["Increase brand awareness", "Generate leads", "Keep customers", "Shorten sales"], 3))
                .into(),
            json!({"visits": draw.between(20, 90) * 1000, "leads": draw.between(50, 400)}).into(),
            f64::from(draw.between(20, 120) * 500).into(),
            draw.between(2, 12).into(),
            draw.pick(&["3 months", "6 months", "12 months"]).into(),
            format!("{}%", draw.between(1, 18)).into(),
            draw.pick(&["leader", "challenger", "niche", "emerging"]).into(),
            json!({"length": "short first, long on demand", "media": ["text", "diagrams"]}).into(),
            json!({"weekdays": "mornings", "weekends": "seldom", "device": "desktop"}).into(),
            json!(industry.pains).into(),
            json!({"awareness": "search", "consideration": "comparison pages", "decision": "customer stories"}).into(),
            seldom(json!({"spring": "budget rounds", "autumn": "conferences"})).into(),
            json!({"comments_per_post": draw.between(1, 20), "shares_per_post": draw.between(1, 40)}).into(),
            json!(industry.competitors[..3]).into(),
            seldom(json!(format!("{} publishes daily.", industry.competitors[0]))).into(),
            json!(topics[TOPICS_PLANNED..=TOPICS_PLANNED]).into(),
            json!([format!("More questions about {}", topics[1]), "Shorter formats"]).into(),
            json!("Assistants answer simple questions before a page is opened.").into(),
            json!(["guides", "checklists", "short videos"]).into(),
            json!({"educational": 50, "stories": 30, "product": 20}).into(),
            draw.pick(&["daily", "weekly", "twice a week"]).into(),
            json!({"days": ["Tuesday", "Thursday"], "hour": "09:00"}).into(),
            json!({"readability": 60, "reviews_per_piece": 2}).into(),
            json!(["Answer first", "Name sources", "No unexplained abbreviations"]).into(),
            json!({"tone": "plain", "person": "we"}).into(),
            json!({"search": 55, "social": 25, "direct": 20}).into(),
            seldom(json!({"visitor_to_lead": 0.021, "lead_to_customer": 0.12})).into(),
            json!({"year": 3, "quarter": 1.2}).into(),
            (draw.between(0, 1) == 1).into(),
            analysis(user, draw).into(),
            json!({"website_analysis": true, "research_preferences": true}).into(),
            json!({"overall": f64::from(draw.between(60, 92)) / 100.0}).into(),
            json!({"position": "practical specialist", "against": industry.competitors[0]}).into(),
            json!([
                {"advantage": format!("Own experience with {}", topics[0]), "impact": "High",
                 "implementation": "Write with the delivery team"},
                {"advantage": "Short decision paths", "impact": "Medium",
                 "implementation": "Publish within two days of an event"},
            ])
            .into(),
            json!([
                {"risk": "The plan depends on two authors", "probability": "medium", "impact": "High - soon"},
                {"risk": format!("{} loses interest", capitalised(topics[2])), "probability": "low", "impact": "Low"},
            ])
            .into(),
            json!([{"opportunity": format!("Be first with {}", topics[9]), "potential_impact": "High"}]).into(),
            json!({"website_analysis": "onboarding", "competitors": "search service"}).into(),
            f64::from(draw.between(60, 100)).into(),
            user.days_ago(days, 14).into(),
            user.days_ago(days - 25, 14).into(),
        ],
    );
}

/// What a model once wrote about the strategy.
fn analysis(user: &User, draw: &mut Draw) -> Json {
    let topics = &user.industry().topics;
    let insights: Vec<Json> = draw
        .some(topics, 1)
        .into_iter()
        .map(|topic| {
            json!({
                "type": "content",
                "insight": format!("Readers who come for {topic} stay longest when a page answers one question."),
                "priority": draw.pick(&["High", "Medium"]),
            })
        })
        .collect();
    let phases: Vec<Json> = ["Foundations", "Rhythm"]
        .iter()
        .zip(topics)
        .map(|(phase, topic)| json!({"phase": phase, "duration": "8 weeks", "tasks": [format!("Publish on {topic}")]}))
        .collect();
    json!({
        "strategic_insights": {"insights": insights},
        "competitive_analysis": {"landscape": "Larger publishers, none with hands-on material."},
        "performance_predictions": {"traffic_growth": format!("{}%", draw.between(10, 45))},
        "implementation_roadmap": {"phases": phases},
        "risk_assessment": {"overall": "moderate", "watch": ["author capacity"]},
        "metadata": {"version": "1.0"},
    })
}
