//! Enhanced strategies: more than forty columns, most of them JSON.

use serde_json::{Value as Json, json};

use super::{
    audience::{audience, pillars},
    batch::{Cell, RowBatch},
    draw::Draw,
    user::User,
    words::{TOPICS_PLANNED, capitalised},
};
use crate::source_schema::ENHANCED_STRATEGIES;

type Cells<const N: usize> = [(&'static str, Cell); N];

pub(super) fn add(user: &User, id: i32, name: &str, draw: &mut Draw, batch: &mut RowBatch) {
    let days = draw.between(30, 140);
    let name = format!("{} {}", user.company(), name.to_lowercase());
    let industry = capitalised(user.industry().name);
    let lead = format!("Lead with {}", user.industry().topics[0]);
    let mut row = vec![
        ("id", id.into()),
        ("user_id", user.id.into()),
        ("name", name.into()),
        ("industry", industry.into()),
        ("target_audience", audience(user).into()),
        ("content_pillars", pillars(user, draw).into()),
        ("ai_recommendations", json!([{"title": lead, "reason": "It brings most qualified visits."}]).into()),
    ];
    row.extend(business(draw));
    row.extend(audience_and_competition(user, draw));
    row.extend(content(draw));
    row.extend(performance(user, draw));
    row.extend(analyses(user, draw));
    let figures = json!({"monthly_visits": "10k", "bounce_rate": 0.42});
    row.extend([
        ("performance_metrics", if user.turn % 3 == 0 { figures } else { Json::Null }.into()),
        ("completion_percentage", f64::from(draw.between(60, 100)).into()),
        ("created_at", user.days_ago(days, 14).into()),
        ("updated_at", user.days_ago(days - 25, 14).into()),
    ]);
    batch.add(&ENHANCED_STRATEGIES, row);
}

fn business(draw: &mut Draw) -> Cells<7> {
    let objectives = draw.some(&["Increase brand awareness", "Generate leads", "Keep customers", "Shorten sales"], 3);
    [
        ("business_objectives", json!(objectives).into()),
        ("target_metrics", json!({"visits": draw.between(20, 90) * 1000, "leads": draw.between(50, 400)}).into()),
        ("content_budget", f64::from(draw.between(20, 120) * 500).into()),
        ("team_size", draw.between(2, 12).into()),
        ("implementation_timeline", draw.pick(&["3 months", "6 months", "12 months"]).into()),
        ("market_share", format!("{}%", draw.between(1, 18)).into()),
        ("competitive_position", draw.pick(&["leader", "challenger", "niche", "emerging"]).into()),
    ]
}

fn audience_and_competition(user: &User, draw: &mut Draw) -> Cells<11> {
    let industry = user.industry();
    let topics = &industry.topics;
    let journey = json!({"awareness": "search", "consideration": "comparison pages", "decision": "customer stories"});
    [
        ("content_preferences", json!({"length": "short first, long on demand", "media": ["text", "diagrams"]}).into()),
        ("consumption_patterns", json!({"weekdays": "mornings", "weekends": "seldom", "device": "desktop"}).into()),
        ("audience_pain_points", json!(industry.pains).into()),
        ("buying_journey", journey.into()),
        ("seasonal_trends", seldom(user, json!({"spring": "budget rounds", "autumn": "conferences"})).into()),
        (
            "engagement_metrics",
            json!({"comments_per_post": draw.between(1, 20), "shares_per_post": draw.between(1, 40)}).into(),
        ),
        ("top_competitors", json!(industry.competitors[..3]).into()),
        (
            "competitor_content_strategies",
            seldom(user, json!(format!("{} publishes daily.", industry.competitors[0]))).into(),
        ),
        ("market_gaps", json!(topics[TOPICS_PLANNED..=TOPICS_PLANNED]).into()),
        ("industry_trends", json!([format!("More questions about {}", topics[1]), "Shorter formats"]).into()),
        ("emerging_trends", json!("Assistants answer simple questions before a page is opened.").into()),
    ]
}

fn content(draw: &mut Draw) -> Cells<7> {
    [
        ("preferred_formats", json!(["guides", "checklists", "short videos"]).into()),
        ("content_mix", json!({"educational": 50, "stories": 30, "product": 20}).into()),
        ("content_frequency", draw.pick(&["daily", "weekly", "twice a week"]).into()),
        ("optimal_timing", json!({"days": ["Tuesday", "Thursday"], "hour": "09:00"}).into()),
        ("quality_metrics", json!({"readability": 60, "reviews_per_piece": 2}).into()),
        ("editorial_guidelines", json!(["Answer first", "Name sources", "No unexplained abbreviations"]).into()),
        ("brand_voice", json!({"tone": "plain", "person": "we"}).into()),
    ]
}

fn performance(user: &User, draw: &mut Draw) -> Cells<4> {
    [
        ("traffic_sources", json!({"search": 55, "social": 25, "direct": 20}).into()),
        ("conversion_rates", seldom(user, json!({"visitor_to_lead": 0.021, "lead_to_customer": 0.12})).into()),
        ("content_roi_targets", json!({"year": 3, "quarter": 1.2}).into()),
        ("ab_testing_capabilities", (draw.between(0, 1) == 1).into()),
    ]
}

fn analyses(user: &User, draw: &mut Draw) -> Cells<8> {
    let industry = user.industry();
    let topics = &industry.topics;
    [
        ("comprehensive_ai_analysis", analysis(user, draw).into()),
        ("onboarding_data_used", json!({"website_analysis": true, "research_preferences": true}).into()),
        ("strategic_scores", json!({"overall": f64::from(draw.between(60, 92)) / 100.0}).into()),
        ("market_positioning", json!({"position": "practical specialist", "against": industry.competitors[0]}).into()),
        (
            "competitive_advantages",
            json!([
                {"advantage": format!("Own experience with {}", topics[0]), "impact": "High",
                 "implementation": "Write with the delivery team"},
                {"advantage": "Short decision paths", "impact": "Medium",
                 "implementation": "Publish within two days of an event"},
            ])
            .into(),
        ),
        (
            "strategic_risks",
            json!([
                {"risk": "The plan depends on two authors", "probability": "medium", "impact": "High - soon"},
                {"risk": format!("{} loses interest", capitalised(topics[2])), "probability": "low", "impact": "Low"},
            ])
            .into(),
        ),
        (
            "opportunity_analysis",
            json!([{"opportunity": format!("Be first with {}", topics[9]), "potential_impact": "High"}]).into(),
        ),
        ("data_source_transparency", json!({"website_analysis": "onboarding", "competitors": "search service"}).into()),
    ]
}

/// One user in four leaves out this column.
fn seldom(user: &User, json: Json) -> Json {
    if user.turn % 4 == 3 { Json::Null } else { json }
}

/// An earlier analysis by a model.
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
