//! The analysis of the user's site, and audits of its pages.

use serde_json::{Value as Json, json};

use super::{
    batch::{Cell, RowBatch},
    draw::Draw,
    user::{Story, User},
    words::{TOPICS_PLANNED, capitalised},
};
use crate::source_schema::{SEO_PAGE_AUDITS, WEBSITE_ANALYSES};

pub(super) fn describe(user: &User, session: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let days = draw.between(2, 40);
    let tone = draw.pick(&["professional", "casual", "friendly", "confident"]);
    let style = json!({
        "tone": tone,
        "voice": draw.pick(&["active", "authoritative", "conversational"]),
        "complexity": draw.pick(&["simple", "moderate", "advanced"]),
        "engagement_level": draw.pick(&["moderate", "high"]),
        "brand_personality": "helpful expert",
        "formality_level": "semi-formal",
        "emotional_appeal": "reassuring",
    });
    let audience = audience(user, draw);
    let content = json!({
        "primary_type": draw.pick(&["blog", "article", "video"]),
        "secondary_types": draw.some(&["case study", "newsletter", "webinar", "infographic"], 2),
        "purpose": draw.pick(&["informational", "promotional"]),
        "call_to_action": "book a demo",
        "conversion_focus": "trial",
        "educational_value": "high",
    });
    let seo_audit: Cell = match user.story {
        Story::Broken => Cell::Broken(r#"{"overall_score": 71, "meta": {"score":"#),
        _ => homepage_audit(user, draw).into(),
    };
    batch.add(
        &WEBSITE_ANALYSES,
        [
            ("id", user.row(1).into()),
            ("session_id", session.into()),
            ("website_url", user.site().into()),
            ("analysis_date", user.days_ago(days, 8).into()),
            ("writing_style", style.into()),
            ("content_characteristics", json!({"sentence_structure": "short", "vocabulary": "plain"}).into()),
            ("target_audience", audience.into()),
            ("content_type", content.into()),
            ("recommended_settings", json!({"writing_tone": tone, "creativity": "medium"}).into()),
            ("brand_analysis", brand(user).into()),
            ("content_strategy_insights", insights(user, draw).into()),
            ("social_media_presence", json!({"linkedin": true, "twitter": false}).into()),
            // Never selected; a test relies on it.
            ("crawl_result", json!({"markdown": "never read ".repeat(20)}).into()),
            ("style_patterns", json!({"patterns": ["question in the title"]}).into()),
            ("style_guidelines", guidelines().into()),
            ("seo_audit", seo_audit),
            ("strategic_insights_history", history(user, draw).into()),
            ("status", "completed".into()),
            ("created_at", user.days_ago(days + 1, 8).into()),
            ("updated_at", user.days_ago(days, 8).into()),
        ],
    );
}

fn audience(user: &User, draw: &mut Draw) -> Json {
    let industry = user.industry();
    json!({
        "demographics": [industry.roles[0], industry.roles[1], industry.roles[2]],
        "expertise_level": draw.pick(&["beginner", "intermediate", "advanced"]),
        "industry_focus": capitalised(industry.name),
        "geographic_focus": draw.pick(&["Europe", "North America", "global"]),
        "psychographic_profile": "pragmatic, short of time",
        "pain_points": industry.pains,
        "motivations": ["save time", "show results"],
    })
}

fn brand(user: &User) -> Json {
    let industry = user.industry();
    json!({
        "brand_voice": "clear and helpful",
        "brand_values": industry.values,
        "brand_positioning": format!("The practical partner for {}", industry.topics[0]),
        "competitive_differentiation": format!("Hands-on help with {} instead of slides", industry.topics[1]),
        "trust_signals": ["customer stories", "public roadmap"],
        "authority_indicators": ["conference talks"],
        "color_palette": ["#0b3d91", "#f4f4f0", "#e8a33d"],
    })
}

fn insights(user: &User, draw: &mut Draw) -> Json {
    let topics = &user.industry().topics;
    let missing: Vec<String> = draw.some(&topics[TOPICS_PLANNED..], 2).into_iter().map(capitalised).collect();
    json!({
        "strengths": [format!("Clear introductions to {}", topics[0]), "A steady publishing rhythm"],
        "weaknesses": ["Few customer voices"],
        "opportunities": [format!("A series on {}", topics[TOPICS_PLANNED]), "Comparisons"],
        "threats": ["Larger competitors publish daily"],
        "recommended_improvements": ["Link related articles", "Add a summary to long pages"],
        "content_gaps": missing,
    })
}

fn guidelines() -> Json {
    json!({
        "guidelines": {"tone": "plain words first", "structure": "answer, then reason"},
        "best_practices": ["one idea per paragraph", "examples before theory"],
        "avoid_elements": ["jargon", "stock phrases"],
        "aesthetic": "calm",
        "visual_style": "flat illustrations",
    })
}

fn homepage_audit(user: &User, draw: &mut Draw) -> Json {
    let mut part = |issues: &[&str]| json!({"score": draw.between(55, 98), "issues": issues, "warnings": []});
    let parts = [
        ("meta", part(&["The description is longer than 160 characters"])),
        ("technical", part(&[])),
        ("content_health", part(&["Two pages compete for the same words"])),
        ("performance", part(&["The hero image is not compressed"])),
        ("url_structure", part(&[])),
        ("accessibility", part(&[])),
        ("ux", part(&[])),
    ];
    let mut audit = json!({
        "overall_score": draw.between(60, 95),
        "summary": {
            "critical_issues": ["The hero image is not compressed"],
            "warnings": ["Dates in article addresses"],
            "passed_checks": draw.between(30, 38),
            "total_checks": 40,
        },
        "competitive_sitemap_benchmarking": {
            "status": "completed",
            "timestamp": user.days_ago(4, 6).format("%Y-%m-%dT%H:%M:%S").to_string(),
            "benchmark": {
                "competitors_analyzed": draw.between(2, 5),
                "gaps": {"missing_sections": ["pricing", "glossary"]},
            },
        },
        "sitemap_strategy_insights": {"largest_section": "blog", "advice": "Group articles by topic"},
    });
    for (name, part) in parts {
        audit[name] = part;
    }
    audit
}

fn history(user: &User, draw: &mut Draw) -> Json {
    let weeks = 1..=draw.between(1, 3);
    let report = |week: i32| {
        let date = user.days_ago(week * 7, 5).format("%Y-%m-%d").to_string();
        json!({"date": date, "summary": format!("More visits from search in week {week}.")})
    };
    weeks.map(report).collect()
}

/// Audits of 10 to 60 pages; one in eight has no score.
pub(super) fn audit_pages(user: &User, draw: &mut Draw, batch: &mut RowBatch) {
    let (site, topics) = (user.site(), &user.industry().topics);
    for page in 1..=draw.count(10, 60) {
        let slug = draw.pick(topics).replace(' ', "-");
        let score = (draw.between(0, 7) > 0).then(|| draw.between(35, 99));
        let status = if score.is_some_and(|score| score < 60) { "fix_scheduled" } else { "needs_review" };
        let days = draw.between(1, 30);
        batch.add(
            &SEO_PAGE_AUDITS,
            [
                ("id", user.row(page).into()),
                ("user_id", user.id.into()),
                ("website_url", site.as_str().into()),
                ("page_url", format!("{site}/{slug}-{page}").into()),
                ("overall_score", score.into()),
                ("status", status.into()),
                ("category_scores", json!({"meta": draw.between(40, 99)}).into()),
                ("issues", json!(["The title repeats the heading"]).into()),
                ("analysis_source", "crawler".into()),
                ("last_analyzed_at", user.days_ago(days, 4).into()),
                ("created_at", user.days_ago(days + 60, 4).into()),
                ("updated_at", user.days_ago(days, 4).into()),
            ],
        );
    }
}
