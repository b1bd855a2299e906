//! Personas: how the user sounds, in general and on each platform.

use serde_json::{Map, Value as Json, json};

use super::{
    batch::{RowBatch, Table},
    draw::Draw,
    user::User,
    words::PLATFORMS,
};

static PERSONAS: Table<8> = Table {
    name: "persona_data",
    columns: [
        "id",
        "session_id",
        "core_persona",
        "platform_personas",
        "quality_metrics",
        "selected_platforms",
        "created_at",
        "updated_at",
    ],
};

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
    // Rare, and then it comes before everything else that knows an industry.
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
        &PERSONAS,
        [
            user.row(1).into(),
            session.into(),
            core.into(),
            Json::from(voices).into(),
            json!({"confidence": 0.9}).into(),
            json!(platforms).into(),
            user.days_ago(days, 12).into(),
            user.days_ago(days, 13).into(),
        ],
    );
}
