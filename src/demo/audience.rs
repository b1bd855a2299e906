//! Target audiences and content pillars, in all shapes that the planning application writes.

use serde_json::{Value as Json, json};

use super::{
    draw::Draw,
    user::{Story, User},
    words::capitalised,
};

pub(super) fn audience(user: &User) -> Json {
    let industry = user.industry();
    match user.turn % 4 {
        0 => {
            json!({
                "age_range": "30-50",
                "interests": [industry.topics[0], industry.topics[2]],
                "location": "Europe",
                "profession": industry.roles[0],
            })
        }
        1 => {
            json!({
                "primary": industry.roles[0],
                "secondary": industry.roles[1],
                "demographics": {"age": "25-45"},
                "interests": [industry.topics[1]],
            })
        }
        2 => json!(industry.roles),
        _ => json!(format!("{} and {}", capitalised(industry.roles[0]), industry.roles[1])),
    }
}

pub(super) fn pillars(user: &User, draw: &mut Draw) -> Json {
    let topics = &user.industry().topics;
    let names: Vec<String> = topics.iter().take(draw.count(3, 4)).map(|topic| capitalised(topic)).collect();
    let shape = if user.story == Story::LegacyOnly { 2 } else { user.turn % 4 };
    match shape {
        0 => names.iter().zip([40, 30, 20, 10]).map(|(name, share)| {
            json!({"name": name, "percentage": share, "topics": draw.some(topics, 3)})
        }).collect(),
        1 => names.iter().map(|name| {
            let frequency = draw.pick(&["daily", "weekly", "monthly"]);
            json!({"name": name, "description": format!("Questions on {}.", name.to_lowercase()), "frequency": frequency})
        }).collect(),
        2 => json!(names),
        _ => names.into_iter().zip([35, 30, 20, 15]).map(|(name, share)| (name, json!(share))).collect(),
    }
}
