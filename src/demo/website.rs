//! The user's own site: its analysis, and audits of its pages.

use serde_json::{Value as Json, json};

use super::{
    batch::{Cell, RowBatch, Table},
    draw::Draw,
    user::{Story, User},
    words::{TOPICS_PLANNED, capitalised},
};

static WEBSITES: Table<20> = Table {
    name: "website_analyses",
    columns: [
        "id",
        "session_id",
        "website_url",
        "analysis_date",
        "writing_style",
        "content_characteristics",
        "target_audience",
        "content_type",
        "recommended_settings",
        "brand_analysis",
        "content_strategy_insights",
        "social_media_presence",
        "crawl_result",
        "style_patterns",
        "style_guidelines",
        "seo_audit",
        "strategic_insights_history",
        "status",
        "created_at",
        "updated_at",
    ],
};

static PAGES: Table<12> = Table {
    name: "seo_page_audits",
    columns: [
        "id",
        "user_id",
        "website_url",
        "page_url",
        "overall_score",
        "status",
        "category_scores",
        "issues",
        "analysis_source",
        "last_analyzed_at",
        "created_at",
        "updated_at",
    ],
};

pub(super) fn describe(user: &User, session: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let days = draw.between(2, 40);
    let industry = user.industry();
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
    let audience = json!({
        "demographics": [industry.roles[0], industry.roles[1], industry.roles[2]],
        "expertise_level": draw.pick(&["beginner", "intermediate", "advanced"]),
        "industry_focus": capitalised(industry.name),
        "geographic_focus": draw.pick(&["Europe", "North America", "global"]),
        "psychographic_profile": "pragmatic, short of time",
        "pain_points": industry.pains,
        "motivations": ["save time", "show results"],
    });
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
        &WEBSITES,
        [
            user.row(1).into(),
            session.into(),
            user.site().into(),
            user.days_ago(days, 8).into(),
            style.into(),
            json!({"sentence_structure": "short", "vocabulary": "plain"}).into(),
            audience.into(),
            content.into(),
            json!({"writing_tone": tone, "creativity": "medium"}).into(),
            brand(user).into(),
            insights(user, draw).into(),
            json!({"linkedin": true, "twitter": false}).into(),
            // Never selected; here so that a test can see that it is not.
            json!({"markdown": "never read ".repeat(20)}).into(),
            json!({"patterns": ["question in the title"]}).into(),
            guidelines().into(),
            seo_audit,
            history(user, draw).into(),
            "completed".into(),
            user.days_ago(days + 1, 8).into(),
            user.days_ago(days, 8).into(),
        ],
    );
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

/// Audits of 10 to 60 pages; one in eight could not be scored.
pub(super) fn audit_pages(user: &User, draw: &mut Draw, batch: &mut RowBatch) {
    let (site, topics) = (user.site(), &user.industry().topics);
    for page in 1..=draw.count(10, 60) {
        let slug = draw.pick(topics).replace(' ', "-");
        let score = (draw.between(0, 7) > 0).then(|| draw.between(35, 99));
        let status = if score.is_some_and(|score| score < 60) { "fix_scheduled" } else { "needs_review" };
        let days = draw.between(1, 30);
        batch.add(
            &PAGES,
            [
                user.row(page).into(),
                user.id.into(),
                site.as_str().into(),
                format!("{site}/{slug}-{page}").into(),
                score.into(),
                status.into(),
                json!({"meta": draw.between(40, 99)}).into(),
                json!(["The title repeats the heading"]).into(),
                "crawler".into(),
                user.days_ago(days, 4).into(),
                user.days_ago(days + 60, 4).into(),
                user.days_ago(days, 4).into(),
            ],
        );
    }
}
