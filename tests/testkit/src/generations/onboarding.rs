//! What the application stores while a user is onboarded.

use serde_json::json;

use super::{Planning, USERS, Who, batch::Rows};

/// The site of the onboarded user.
pub(super) const SITE: &str = "https://lumen.example";

/// The id of the session that each user with a session has; the onboarded user has an older one besides.
const SESSIONS: [(Who, i32); 4] = [(Who::Onboarded, 2), (Who::SessionOnly, 3), (Who::LinkedIn, 4), (Who::Odd, 5)];

pub(super) fn sessions(planning: &Planning, rows: &mut Rows) {
    debug_assert_eq!(SESSIONS.len() + 1, USERS.len(), "one user has no session");
    rows.add("onboarding_sessions")
        .set("id", 1)
        .set("user_id", planning.ids.of(Who::Onboarded))
        .set("current_step", 2)
        .set("progress", 33.3)
        .set("started_at", planning.at(80, 9))
        .set("updated_at", planning.at(79, 9))
        .set("onboarding_type", "website");
    for (who, id) in SESSIONS {
        let linkedin = who == Who::LinkedIn;
        rows.add("onboarding_sessions")
            .set("id", id)
            .set("user_id", planning.ids.of(who))
            .set("current_step", 6)
            .set("progress", 100.0)
            .set("started_at", planning.at(70, 9))
            .set("updated_at", planning.at(20, 9))
            .set("onboarding_type", if linkedin { "linkedin" } else { "website" })
            .json("payload", if linkedin { linkedin_payload() } else { scheduled_tasks() });
    }
}

/// The list of tasks that the application has scheduled for a user; no data of the user.
fn scheduled_tasks() -> serde_json::Value {
    json!({"scheduled_tasks": [
        {"type": "sif_indexing", "step": 2, "timestamp": "2026-08-01T09:00:00+00:00", "website_url": SITE},
        {"type": "deep_competitor_analysis", "step": 3, "timestamp": "2026-08-01T09:05:00+00:00", "competitor_count": 2},
    ]})
}

/// A user who comes through LinkedIn has preferences and a summary in the payload, and no analysis of a site.
fn linkedin_payload() -> serde_json::Value {
    json!({
        "scheduled_tasks": [
            {"type": "linkedin_profile_sync", "step": 5, "timestamp": "2026-08-01T09:00:00+00:00", "frequency": 7},
        ],
        "linkedin_content_preferences": {
            "posting_cadence": "3 per week",
            "preferred_formats": ["posts", "articles", "carousels"],
            "content_topics": ["Home energy", "Heat pumps"],
            "engagement_goals": "Reach installers",
            "saved_at": "2026-08-01T09:10:00",
        },
        "linkedin_onboarding_summary": {
            "onboarding_type": "linkedin",
            "completed_at": "2026-08-01T09:20:00",
            "profile": {"name": "Ada", "headline": "Energy advisor", "industry": "Energy", "completeness_score": 0.9},
            "research": {"trending_industry": "Energy", "brand_scorecard": null},
            "persona": {"quality_score": 82.5, "valid": true},
            "connected_platforms": ["linkedin"],
        },
    })
}

pub(super) fn linkedin(planning: &Planning, rows: &mut Rows) {
    rows.add("platform_integrations")
        .set("id", 2)
        .set("session_id", 4)
        .json("social_platforms", json!({"linkedin": true, "facebook": false}))
        .json("connected_platforms", json!(["linkedin"]))
        .set("created_at", planning.at(20, 9))
        .set("updated_at", planning.at(20, 9));
}

pub(super) fn onboarded(planning: &Planning, rows: &mut Rows) {
    website(planning, rows);
    research(planning, rows);
    persona(planning, rows);
    competitors(planning, rows);
    integrations(planning, rows);
    audits(planning, rows);
    deep_analysis(planning, rows);
}

fn website(planning: &Planning, rows: &mut Rows) {
    rows.add("website_analyses")
        .set("id", 1)
        .set("session_id", 2)
        .set("website_url", SITE)
        .set("analysis_date", planning.at(60, 10))
        .json("writing_style", json!({"tone": "friendly", "voice": "active", "complexity": "moderate", "engagement_level": "high"}))
        .json("content_characteristics", json!({"vocabulary": "plain", "sentence_structure": "short"}))
        .json("target_audience", json!({
            "demographics": ["homeowners", "installers"], "expertise_level": "beginner", "industry_focus": "Energy",
            "geographic_focus": "Europe",
        }))
        .json("content_type", json!({"primary_type": "blog", "secondary_types": ["case study", "newsletter"], "purpose": "informational"}))
        .json("recommended_settings", json!({"writing_tone": "friendly"}))
        .json("brand_analysis", json!({
            "brand_voice": "helpful", "brand_values": ["honesty", "thrift"], "brand_positioning": "The practical partner",
            "competitive_differentiation": "Advice from installers", "color_palette": ["#0b3d91", "#e8a33d"],
        }))
        .json("content_strategy_insights", json!({
            "strengths": ["Clear introductions to heat pumps"], "weaknesses": ["Few customer voices"],
            "opportunities": ["A series on subsidies"], "threats": [], "content_gaps": ["Subsidy guides", "Cost calculators"],
        }))
        .json("social_media_presence", json!({"linkedin": "https://linkedin.com/company/lumen"}))
        .json("crawl_result", json!({"title": "Lumen", "content": {"main": "x".repeat(2000)}}))
        .json("style_patterns", json!({"patterns": []}))
        .json("style_guidelines", json!({"aesthetic": "calm", "visual_style": "flat illustrations"}))
        .json("seo_audit", json!({
            "overall_score": 78, "summary": {"critical_issues": ["The hero image is not compressed"], "passed_checks": 33},
            "competitive_sitemap_benchmarking": {
                "timestamp": "2026-07-01T06:00:00",
                "benchmark": {"competitors_analyzed": 2, "gaps": {"missing_sections": ["pricing", "glossary"]}},
            },
            "sitemap_strategy_insights": {"largest_section": "blog"},
        }))
        .json("strategic_insights_history", json!([{"date": "2026-07-06", "summary": "More visits from search."}]))
        .set("status", "completed")
        .set("created_at", planning.at(60, 10))
        .set("updated_at", planning.at(59, 10));
}

fn research(planning: &Planning, rows: &mut Rows) {
    rows.add("research_preferences")
        .set("id", 1)
        .set("session_id", 2)
        .set("research_depth", "Comprehensive")
        .json("content_types", json!(["Blog Posts", "Social Media", "Newsletters"]))
        .set("auto_research", true)
        .set("factual_content", false)
        .json_null("writing_style")
        .json("target_audience", json!({"demographics": ["homeowners"], "industry_focus": "Renewable energy"}))
        .set("created_at", planning.at(58, 10))
        .set("updated_at", planning.at(58, 10));
}

fn persona(planning: &Planning, rows: &mut Rows) {
    rows.add("persona_data")
        .set("id", 1)
        .set("session_id", 2)
        .json("core_persona", json!({
            "identity": {"persona_name": "The energy guide", "archetype": "sage", "core_belief": "Saving can be simple"},
            "linguistic_fingerprint": {"sentence_metrics": {"average_sentence_length_words": 14}},
            "tonal_range": {"default_tone": "calm", "permissible_tones": ["encouraging"]},
        }))
        .json("platform_personas", json!({"linkedin": {"post_length": 120}, "x": {"post_length": 40}}))
        .json("quality_metrics", json!({"overall_score": 88}))
        .json("selected_platforms", json!(["linkedin", "x"]))
        .json_null("research_persona")
        .set("created_at", planning.at(57, 10))
        .set("updated_at", planning.at(57, 10));
}

fn competitors(planning: &Planning, rows: &mut Rows) {
    for (id, name, title) in [(1, "warmth", "Heat pump cost guide"), (2, "sunny", "Solar subsidies explained")] {
        rows.add("competitor_analyses")
            .set("id", id)
            .set("session_id", 2)
            .set("competitor_url", format!("https://www.{name}.example/blog"))
            .set("competitor_domain", if id == 1 { "www.warmth.example" } else { "" })
            .set("analysis_date", planning.at(56, 10))
            .json("analysis_data", json!({
                "title": title, "summary": "Subsidy guides and a heat pump calculator for homeowners.",
                "relevance_score": 0.5 + f64::from(id) / 10.0, "highlights": ["Heat pump calculator", "Subsidy guide"],
                "subpages": [], "competitive_analysis": {"competitive_advantages": ["Daily posts"]},
                "content_insights": {"topics": ["subsidies"]}, "industry_context": null,
                "seo_audit": {"overall_score": 60 + id * 10}, "completed_at": "2026-07-01T06:00:00",
            }))
            .set("status", "completed")
            .set("created_at", planning.at(56, 10))
            .set("updated_at", planning.at(56, 11));
    }
}

fn integrations(planning: &Planning, rows: &mut Rows) {
    rows.add("platform_integrations")
        .set("id", 1)
        .set("session_id", 2)
        .set("primary_website", SITE)
        .json("website_platforms", json!({"wix": {"connected": true, "sites": [SITE]}}))
        .json("analytics_platforms", json!({"gsc": {"connected": true}, "bing": {"connected": false}}))
        .json("social_platforms", json!({"facebook": true, "linkedin": true}))
        .json("connected_platforms", json!(["wix", "gsc", "facebook", "linkedin"]))
        .set("created_at", planning.at(55, 10))
        .set("updated_at", planning.at(55, 10));
}

fn audits(planning: &Planning, rows: &mut Rows) {
    for (id, score, status) in [(1, 52, "fix_scheduled"), (2, 91, "needs_review")] {
        rows.add("seo_page_audits")
            .set("id", id)
            .set("user_id", planning.ids.of(Who::Onboarded))
            .set("website_url", SITE)
            .set("page_url", format!("{SITE}/page-{id}"))
            .set("overall_score", score)
            .set("status", status)
            .json("issues", json!(["The title repeats the heading"]))
            .set("analysis_source", "onboarding_full_site")
            .set("updated_at", planning.at(54, 10));
    }
}

fn deep_analysis(planning: &Planning, rows: &mut Rows) {
    rows.add("deep_competitor_analysis_tasks")
        .set("id", 1)
        .set("user_id", planning.ids.of(Who::Onboarded))
        .set("website_url", SITE)
        .set("status", "active")
        .set("consecutive_failures", 0)
        .set("next_execution", planning.at(0, 6))
        .json("payload", json!({
            "website_url": SITE, "competitors": [{"url": "https://www.warmth.example"}, {"url": "https://www.sunny.example"}],
            "max_competitors": 2, "mode": "strategic_insights", "created_from": "onboarding_step3",
        }))
        .set("created_at", planning.at(56, 10))
        .set("updated_at", planning.at(50, 10));
    for (id, status, days) in [(1, "success", 50), (2, "failed", 49)] {
        let log = rows.add("deep_competitor_analysis_execution_logs");
        log.set("id", id).set("task_id", 1).set("execution_date", planning.at(days, 10)).set("status", status);
        match status {
            "success" => log.json("result_data", json!({"report": {"shared_topics": ["subsidies"]}})),
            _ => log.set("error_message", "timeout"),
        }
        .set("execution_time_ms", 5200)
        .set("created_at", planning.at(days, 10));
    }
}
