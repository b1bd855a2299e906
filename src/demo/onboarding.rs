//! Sessions, research preferences and connected platforms.

use serde_json::{Value as Json, json};

use super::{
    batch::RowBatch,
    draw::Draw,
    user::{Story, User},
};
use crate::source_schema::{ONBOARDING_SESSIONS, PLATFORM_INTEGRATIONS, RESEARCH_PREFERENCES};

/// Returns the newest session, which is the one that is read.
pub(super) fn describe(user: &User, draw: &mut Draw, batch: &mut RowBatch) -> i32 {
    let started = 100 + draw.between(0, 60);
    if user.turn % 5 == 0 {
        let (begun, left) = (user.days_ago(started + 40, 9), user.days_ago(started + 39, 17));
        let row = [
            ("id", user.row(1).into()),
            ("user_id", user.id.into()),
            ("current_step", 2.into()),
            ("progress", 0.4.into()),
            ("payload", Json::Null.into()),
            ("started_at", begun.into()),
            ("updated_at", left.into()),
        ];
        batch.add(&ONBOARDING_SESSIONS, row);
    }
    let session = user.row(2);
    let updated = user.days_ago(draw.between(5, 90), 11);
    let row = [
        ("id", session.into()),
        ("user_id", user.id.into()),
        ("current_step", 6.into()),
        ("progress", 1.0.into()),
        ("payload", payload(user).into()),
        ("started_at", user.days_ago(started, 9).into()),
        ("updated_at", updated.into()),
    ];
    batch.add(&ONBOARDING_SESSIONS, row);
    if user.story != Story::LegacyOnly {
        research(user, session, draw, batch);
    }
    if !matches!(user.story, Story::LegacyOnly | Story::NoCompetition) {
        platforms(user, session, batch);
    }
    session
}

/// Every fourth user has told of LinkedIn as well.
fn payload(user: &User) -> Json {
    match user.turn % 4 {
        1 => json!({
            "linkedin_onboarding_summary": {"profile": {"headline": user.company(), "industry": user.industry().name}},
            "linkedin_content_preferences": {"preferred_formats": ["posts", "articles"], "posting_cadence": "weekly"},
        }),
        _ => Json::Null,
    }
}

fn platforms(user: &User, session: i32, batch: &mut RowBatch) {
    batch.add(
        &PLATFORM_INTEGRATIONS,
        [
            ("id", user.row(1).into()),
            ("session_id", session.into()),
            ("connected_platforms", json!(["wordpress", "gsc", "linkedin"]).into()),
            ("social_platforms", json!({"linkedin": true, "facebook": false}).into()),
            ("analytics_platforms", json!({"gsc": {"connected": true}}).into()),
            ("website_platforms", json!({"wordpress": {"connected": true}}).into()),
            ("updated_at", user.days_ago(30, 10).into()),
        ],
    );
}

fn research(user: &User, session: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let industry = user.industry();
    let depth = draw.pick(&["Basic", "Standard", "Comprehensive", "Expert"]);
    let types = draw.some(&["blog", "article", "video", "case study", "newsletter", "podcast"], 3);
    let days = draw.between(3, 60);
    batch.add(
        &RESEARCH_PREFERENCES,
        [
            ("id", user.row(1).into()),
            ("session_id", session.into()),
            ("research_depth", depth.into()),
            ("content_types", json!(types).into()),
            ("auto_research", (draw.between(0, 3) > 0).into()),
            ("factual_content", (draw.between(0, 3) > 0).into()),
            (
                "writing_style",
                json!({"tone": "friendly", "voice": "active", "complexity": "simple", "engagement_level": "high"})
                    .into(),
            ),
            ("content_characteristics", json!({"vocabulary": "plain", "sentences": "short"}).into()),
            (
                "target_audience",
                json!({"industry_focus": industry.name, "demographics": [industry.roles[0], industry.roles[1]]}).into(),
            ),
            ("recommended_settings", json!({"words": 1200, "images": 3}).into()),
            ("created_at", user.days_ago(days + 1, 10).into()),
            ("updated_at", user.days_ago(days, 10).into()),
        ],
    );
}
