//! Personas: the user's voice, in general and on each platform.

use serde_json::{Map, Value as Json, json};

use super::{batch::RowBatch, draw::Draw, user::User, words::PLATFORMS};
use crate::source_schema::PERSONA_DATA;

pub(super) fn describe(user: &User, session: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let industry = user.industry();
    let mut core = json!({
        "identity": {
            "persona_name": format!("The {} guide", industry.name),
            "archetype": draw.pick(&["sage", "explorer", "caregiver"]),
            "core_belief": format!("{} can be simple", user.company()),
            "brand_voice_description": "clear, warm and to the point",
        },
        "linguistic_fingerprint": {"sentence_length": 14, "questions": "often", "metaphors": "seldom"},
        "tonal_range": {"default": "calm", "permissible": ["encouraging", "dry"]},
        "stylistic_constraints": {"punctuation": "no exclamation marks"},
    });
    // Rare. It takes precedence over all other sources of an industry.
    if user.turn % 7 == 0 {
        core["industry"] = industry.name.into();
        core["target_audience"] = industry.roles[0].into();
    }
    let count = draw.count(2, 4);
    let platforms = draw.some(&PLATFORMS, count);
    let voices: Map<String, Json> = platforms
        .iter()
        .map(|platform| ((*platform).to_owned(), json!({"post_length": draw.between(40, 240), "hashtags": 2})))
        .collect();
    let days = draw.between(3, 50);
    batch.add(
        &PERSONA_DATA,
        [
            ("id", user.row(1).into()),
            ("session_id", session.into()),
            ("core_persona", core.into()),
            ("platform_personas", Json::from(voices).into()),
            ("quality_metrics", json!({"confidence": 0.9}).into()),
            ("selected_platforms", json!(platforms).into()),
            ("created_at", user.days_ago(days, 12).into()),
            ("updated_at", user.days_ago(days, 13).into()),
        ],
    );
}
