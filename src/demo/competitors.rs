//! Competitors, their weekly deep analysis, and the result of an earlier gap analysis.

use serde_json::{Value as Json, json};

use super::{
    batch::RowBatch,
    draw::Draw,
    user::User,
    words::{TOPICS_PLANNED, capitalised},
};
use crate::source_schema::{COMPETITOR_ANALYSES, CONTENT_GAP_ANALYSES, DEEP_TASK_LOGS, DEEP_TASKS};

pub(super) fn describe(user: &User, session: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let count = draw.count(2, 5);
    let domains = draw.some(&user.industry().competitors, count);
    for (n, domain) in (1..).zip(&domains) {
        let days = draw.between(3, 45);
        batch.add(
            &COMPETITOR_ANALYSES,
            [
                ("id", user.row(n).into()),
                ("session_id", session.into()),
                ("competitor_url", format!("https://www.{domain}/").into()),
                ("competitor_domain", (*domain).into()),
                ("analysis_date", user.days_ago(days, 3).into()),
                ("analysis_data", page(user, domain, n, draw).into()),
                ("status", "completed".into()),
                ("created_at", user.days_ago(days, 3).into()),
                ("updated_at", user.days_ago(days, 4).into()),
            ],
        );
    }
    deep_analysis(user, &domains, draw, batch);
    if let Some(number) = user.number() {
        stored_gaps(user, number, &domains, draw, batch);
    }
}

/// The search service's findings about a competitor, which writes about all of the industry's topics.
fn page(user: &User, domain: &str, n: usize, draw: &mut Draw) -> Json {
    let industry = user.industry();
    let main = draw.some(&industry.topics, 4);
    let subpage_count = draw.count(3, 8);
    let subpages: Vec<Json> = draw
        .some(&industry.topics, subpage_count)
        .into_iter()
        .map(|topic| {
            let slug = topic.replace(' ', "-");
            json!({"id": slug, "url": format!("https://www.{domain}/{slug}"), "title": capitalised(topic)})
        })
        .collect();
    let mut page = json!({
        "title": format!("{} and {}", capitalised(main[0]), main[1]),
        "summary": format!("{}, {} and {}.", capitalised(main[0]), main[1], main[2]),
        "relevance_score": f64::from(draw.between(400, 990)) / 1000.0,
        "highlights": [capitalised(main[2]), capitalised(main[3])],
        "subpages": subpages,
        "favicon": format!("https://www.{domain}/favicon.ico"),
        "published_date": user.days_ago(draw.between(50, 400), 0).format("%Y-%m-%d").to_string(),
        "author": Json::Null,
        "competitive_analysis": {
            "business_model": "subscription",
            "target_audience": industry.roles[n % industry.roles.len()],
            "value_proposition": format!("{} without the effort", capitalised(main[0])),
            "competitive_advantages": ["Large library", "Weekly webinars"],
        },
        "content_insights": {"topics": [main[0], main[3]]},
        "industry_context": industry.name,
        "completed_at": user.days_ago(3, 3).format("%Y-%m-%dT%H:%M:%S").to_string(),
    });
    if !n.is_multiple_of(3) {
        page["seo_audit"] = json!({"overall_score": draw.between(50, 97)});
    }
    page
}

fn deep_analysis(user: &User, domains: &[&str], draw: &mut Draw, batch: &mut RowBatch) {
    let (task, days) = (user.row(1), draw.between(1, 6));
    let competitors: Vec<Json> =
        domains.iter().map(|domain| json!({"url": format!("https://www.{domain}/")})).collect();
    batch.add(
        &DEEP_TASKS,
        [
            ("id", task.into()),
            ("user_id", user.id.into()),
            ("website_url", user.site().into()),
            ("status", "active".into()),
            ("last_executed", user.days_ago(days, 2).into()),
            ("last_success", user.days_ago(days, 2).into()),
            ("consecutive_failures", 0.into()),
            ("next_execution", user.days_ago(days - 7, 2).into()),
            ("payload", json!({"competitors": competitors, "max_competitors": 5}).into()),
            ("created_at", user.days_ago(90, 2).into()),
            ("updated_at", user.days_ago(days, 2).into()),
        ],
    );
    let topics = &user.industry().topics;
    let report = json!({
        "headline": format!("Competitors publish most about {}", topics[draw.count(0, 11)]),
        "findings": [
            {"finding": format!("Nobody explains {} to beginners", topics[draw.count(0, 11)]), "confidence": "medium"},
        ],

    });
    // The newest run, and an older one without work.
    let runs =
        [(2, days, "success", report), (1, days + 7, "skipped", json!({"status": "skipped", "reason": "nothing new"}))];
    for (n, days, status, result) in runs {
        let (when, took) = (user.days_ago(days, 2), draw.between(4_000, 90_000));
        batch.add(
            &DEEP_TASK_LOGS,
            [
                ("id", user.row(n).into()),
                ("task_id", task.into()),
                ("execution_date", when.into()),
                ("status", status.into()),
                ("result_data", result.into()),
                ("execution_time_ms", took.into()),
                ("created_at", when.into()),
            ],
        );
    }
}

fn stored_gaps(user: &User, number: i32, domains: &[&str], draw: &mut Draw, batch: &mut RowBatch) {
    let topics = &user.industry().topics;
    // Users with more competitors have fewer keywords, so that no document has the maximum of both.
    let most = 20 - 2 * i32::try_from(domains.len()).unwrap_or_default();
    let keywords = keywords(user, most, draw);
    let targets: Vec<Json> = keywords.iter().take(6).map(|keyword| keyword["keyword"].clone()).collect();
    let results = json!({
        "content_gaps": [
            {"topic": "Pricing pages", "gap_score": draw.between(30, 90), "opportunity_size": "high",
             "competitor_coverage": "medium"},
            {"topic": "Customer stories", "gap_score": draw.between(20, 80), "opportunity_size": "medium",
             "competitor_coverage": "high"},
        ],
        "keyword_opportunities": keywords,
        "competitor_insights": [
            {"competitor": domains[0], "strengths": ["Deep archive"], "weaknesses": ["Slow pages"],
             "content_frequency": "weekly"},
        ],
    });
    let gap = topics[TOPICS_PLANNED];
    let recommendations = json!([
        {"type": "Content Creation", "priority": "high", "title": format!("Explain {gap}"),
         "description": "Competitors rank for it.", "estimated_impact": "High", "implementation_time": "2 weeks"},
    ]);
    let urls: Vec<String> = domains.iter().map(|domain| format!("https://www.{domain}/")).collect();
    let days = draw.between(5, 60);
    batch.add(
        &CONTENT_GAP_ANALYSES,
        [
            ("id", user.row(1).into()),
            ("user_id", number.into()),
            ("website_url", user.site().into()),
            ("competitor_urls", json!(urls).into()),
            ("target_keywords", json!(targets).into()),
            ("analysis_results", results.into()),
            ("recommendations", recommendations.into()),
            ("opportunities", json!([format!("Glossary of {gap}"), "Comparison tables"]).into()),
            ("created_at", user.days_ago(days, 7).into()),
            ("updated_at", user.days_ago(days, 7).into()),
        ],
    );
}

/// 8 at least: the industry's topics, then variations of them.
fn keywords(user: &User, most: i32, draw: &mut Draw) -> Vec<Json> {
    let topics = user.industry().topics;
    let variations = topics.iter().map(|topic| format!("{topic} checklist"));
    let all: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).chain(variations).collect();
    let count = draw.count(8, most);
    all.into_iter()
        .take(count)
        .map(|keyword| {
            // The planning application stores both forms.
            let competition = match draw.between(0, 5) {
                0 => json!(f64::from(draw.between(50, 95)) / 100.0),
                1 => json!("low"),
                2 => json!("medium"),
                _ => json!("high"),
            };
            json!({
                "keyword": keyword,
                "search_volume": draw.between(2, 480) * 10,
                "competition": competition,
                "opportunity_score": draw.between(20, 95),
            })
        })
        .collect()
}
