//! The shape of an answer, as one table: the JSON schema for the endpoint and the check of the answer are both made
//! from it, so they cannot disagree.
//!
//! Ranges and lengths are checked here only, because strict schemas cannot express them. Nothing is repaired: an answer
//! that breaks one limit is refused as a whole.

use serde_json::{Map, Value as Json, json};

#[derive(Debug)]
pub(super) enum Shape {
    /// Exactly these members, each required.
    Object(&'static [(&'static str, Shape)]),
    /// From `min` to `max` elements.
    List { of: &'static Shape, min: usize, max: usize },
    /// A text of at most this many characters.
    Text(usize),
    /// One of [`LEVELS`].
    Level,
    /// A number in [0, 1].
    Share,
}

use Shape::{Level, List, Object, Share, Text};

const LEVELS: [&str; 3] = ["high", "medium", "low"];

/// The answer: data.md section 6, "Answer".
pub(super) static ANSWER: Shape = Object(&[
    (
        "market_positioning",
        Object(&[
            ("industry_position", Text(200)),
            ("competitive_advantage", Text(200)),
            ("market_share", Text(200)),
            ("differentiation_factors", List { of: &Text(200), min: 0, max: 10 }),
        ]),
    ),
    (
        "competitive_advantages",
        List {
            of: &Object(&[("type", Text(100)), ("name", Text(200)), ("description", Text(1000)), ("strength", Level)]),
            min: 0,
            max: 10,
        },
    ),
    (
        "strategic_scores",
        Object(&[
            ("market_positioning_score", Share),
            ("competitive_advantage_score", Share),
            ("content_strategy_score", Share),
            ("overall_strategic_score", Share),
        ]),
    ),
    (
        "risk_assessment",
        List {
            of: &Object(&[
                ("type", Text(1000)),
                ("severity", Level),
                ("description", Text(1000)),
                ("mitigation", Text(1000)),
            ]),
            min: 0,
            max: 10,
        },
    ),
    (
        "opportunity_analysis",
        List {
            of: &Object(&[
                ("type", Text(1000)),
                ("priority", Level),
                ("description", Text(1000)),
                ("action_items", List { of: &Text(300), min: 0, max: 6 }),
            ]),
            min: 0,
            max: 10,
        },
    ),
    (
        "content_recommendations",
        List {
            of: &Object(&[
                ("type", Text(200)),
                ("title", Text(200)),
                ("description", Text(2000)),
                ("priority", Level),
                ("estimated_impact", Text(200)),
                ("implementation_time", Text(200)),
                ("ai_confidence", Share),
                ("content_suggestions", List { of: &Text(500), min: 0, max: 8 }),
            ]),
            min: 1,
            max: 12,
        },
    ),
]);

impl Shape {
    /// As a JSON schema with types, enums and required members: strict mode allows no more.
    pub(super) fn schema(&self) -> Json {
        match self {
            Object(members) => json!({
                "type": "object",
                "properties": members.iter().map(|(name, of)| ((*name).to_owned(), of.schema())).collect::<Map<_, _>>(),
                "required": members.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
                "additionalProperties": false,
            }),
            List { of, .. } => json!({ "type": "array", "items": of.schema() }),
            Text(_) => json!({ "type": "string" }),
            Level => json!({ "type": "string", "enum": LEVELS }),
            Share => json!({ "type": "number" }),
        }
    }

    /// Refuses a value of another shape. The error says where and why, and repeats no part of the value.
    pub(super) fn check(&self, value: &Json) -> Result<(), String> {
        self.check_at(value, "answer")
    }

    fn check_at(&self, value: &Json, at: &str) -> Result<(), String> {
        match self {
            Object(members) => {
                let object = value.as_object().ok_or_else(|| format!("{at} is not an object"))?;
                for (name, of) in *members {
                    let member = object.get(*name).ok_or_else(|| format!("{at}.{name} is missing"))?;
                    of.check_at(member, &format!("{at}.{name}"))?;
                }
                // All required members are there, so a further one is unknown.
                if object.len() > members.len() { Err(format!("{at} has an unknown member")) } else { Ok(()) }
            }
            List { of, min, max } => {
                let items = value.as_array().ok_or_else(|| format!("{at} is not a list"))?;
                if !(*min..=*max).contains(&items.len()) {
                    return Err(format!("{at} has {} elements, not {min} to {max}", items.len()));
                }
                items.iter().enumerate().try_for_each(|(index, item)| of.check_at(item, &format!("{at}[{index}]")))
            }
            Text(max) => {
                let text = value.as_str().ok_or_else(|| format!("{at} is not a text"))?;
                if text.chars().count() > *max { Err(format!("{at} is longer than {max}")) } else { Ok(()) }
            }
            Level => match value.as_str() {
                Some(text) if LEVELS.contains(&text) => Ok(()),
                _ => Err(format!("{at} is not high, medium or low")),
            },
            Share => match value.as_f64() {
                Some(share) if (0.0..=1.0).contains(&share) => Ok(()),
                _ => Err(format!("{at} is not a number from 0 to 1")),
            },
        }
    }
}
