//! Sessions and research preferences.

use serde_json::json;

use super::{
    batch::{RowBatch, Table},
    draw::Draw,
    user::{Story, User},
};

static SESSIONS: Table<6> = Table {
    name: "onboarding_sessions",
    columns: ["id", "user_id", "current_step", "progress", "started_at", "updated_at"],
};

static RESEARCH: Table<12> = Table {
    name: "research_preferences",
    columns: [
        "id",
        "session_id",
        "research_depth",
        "content_types",
        "auto_research",
        "factual_content",
        "writing_style",
        "content_characteristics",
        "target_audience",
        "recommended_settings",
        "created_at",
        "updated_at",
    ],
};

/// Returns the newest session: the one that counts.
pub(super) fn describe(user: &User, draw: &mut Draw, batch: &mut RowBatch) -> i32 {
    let started = 100 + draw.between(0, 60);
    if user.turn % 5 == 0 {
        let (begun, left) = (user.days_ago(started + 40, 9), user.days_ago(started + 39, 17));
        let row = [user.row(1).into(), user.id.into(), 2.into(), 0.4.into(), begun.into(), left.into()];
        batch.add(&SESSIONS, row);
    }
    let session = user.row(2);
    let updated = user.days_ago(draw.between(5, 90), 11);
    let row = [session.into(), user.id.into(), 6.into(), 1.0.into(), user.days_ago(started, 9).into(), updated.into()];
    batch.add(&SESSIONS, row);
    if user.story != Story::LegacyOnly {
        research(user, session, draw, batch);
    }
    session
}

fn research(user: &User, session: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let industry = user.industry();
    let depth = draw.pick(&["Basic", "Standard", "Comprehensive", "Expert"]);
    let types = draw.some(&["blog", "article", "video", "case study", "newsletter", "podcast"], 3);
    let days = draw.between(3, 60);
    batch.add(
        &RESEARCH,
        [
            user.row(1).into(),
            session.into(),
            depth.into(),
            json!(types).into(),
            (draw.between(0, 3) > 0).into(),
            (draw.between(0, 3) > 0).into(),
            json!({"tone": "friendly", "voice": "active", "complexity": "simple", "engagement_level": "high"}).into(),
            json!({"vocabulary": "plain", "sentences": "short"}).into(),
            json!({"industry_focus": industry.name, "demographics": [industry.roles[0], industry.roles[1]]}).into(),
            json!({"words": 1200, "images": 3}).into(),
            user.days_ago(days + 1, 10).into(),
            user.days_ago(days, 10).into(),
        ],
    );
}
