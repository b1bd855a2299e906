//! The document in the planning application's own shape, for its callers over HTTP: docs/data.md section 16.
//!
//! A pure function: the JSON form of docs/data.md section 11, changed where the application's calendar steps read it
//! otherwise. Rejected: a contract of its own for this shape; two descriptions of one document drift apart.
//! Invariant: no rule makes up a value. What is absent is `null`, `{}` or `[]`, as the application writes it.

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};

use crate::proto::v1::ComprehensiveUserData;

/// The generation of the application whose callers read the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerGeneration {
    /// August 2025: a user id in digits is a number.
    Aug22,
    /// June 2026.
    Jun26,
    /// August 2026: an unknown writing style is `null`; there are no defaults.
    Newest,
}

/// The document as callers of this generation read it.
///
/// # Errors
/// A time outside of the years that RFC 3339 can write. No source makes one.
pub fn planning_json(document: &ComprehensiveUserData, callers: CallerGeneration) -> Result<Json, serde_json::Error> {
    let mut json = serde_json::to_value(document)?;
    for path in INT64 {
        at(&mut json, path, &mut |value| become_number(value, i64::MIN..=i64::MAX));
    }
    if callers == CallerGeneration::Aug22 {
        for path in USER_IDS {
            at(&mut json, path, &mut |value| become_number(value, 0..=i64::from(i32::MAX)));
        }
    }
    at(&mut json, &["strategy_data"], &mut strategy);
    at(&mut json, &["onboarding_data"], &mut |onboarding| shape_onboarding(onboarding, callers));
    if let Json::Object(document) = &mut json {
        shape_document(document);
    }
    Ok(json)
}

/// Where 64-bit integers are, which proto3 JSON writes as strings. `*` is every element of an array.
const INT64: [&[&str]; 7] = [
    &["strategy_data", "strategy_id"],
    &["ai_analysis_results", "strategy_id"],
    &["gap_analysis", "keyword_opportunities", "*", "search_volume"],
    &["performance_data", "windows", "*", "overall", "total_reach"],
    &["performance_data", "windows", "*", "platforms", "*", "total_reach"],
    &["performance_data", "strategy_ids", "*"],
    &["recommendations_data", "*", "strategy_id"],
];

const USER_IDS: [&[&str]; 3] = [&["user_id"], &["strategy_data", "user_id"], &["recommendations_data", "*", "user_id"]];

/// Callers ask these for members without looking whether they are there. A section that failed is empty, too.
const OBJECTS: [&str; 10] = [
    "onboarding_data",
    "website_analysis",
    "competitor_analysis",
    "keyword_analysis",
    "strategy_data",
    "strategy_analysis",
    "quality_indicators",
    "ai_analysis_results",
    "gap_analysis",
    "performance_data",
];

/// The optional members of `strategy_data`: the application has all of its columns, `null` where nothing is stored.
const STRATEGY_OPTIONAL: [&str; 46] = [
    "industry",
    "target_audience",
    "content_pillars",
    "ai_recommendations",
    "created_at",
    "updated_at",
    "activation_status",
    "completion_percentage",
    "business_objectives",
    "target_metrics",
    "content_budget",
    "team_size",
    "implementation_timeline",
    "market_share",
    "competitive_position",
    "performance_metrics",
    "content_preferences",
    "consumption_patterns",
    "audience_pain_points",
    "buying_journey",
    "seasonal_trends",
    "engagement_metrics",
    "top_competitors",
    "competitor_content_strategies",
    "market_gaps",
    "industry_trends",
    "emerging_trends",
    "preferred_formats",
    "content_mix",
    "content_frequency",
    "optimal_timing",
    "quality_metrics",
    "editorial_guidelines",
    "brand_voice",
    "traffic_sources",
    "conversion_rates",
    "content_roi_targets",
    "ab_testing_capabilities",
    "comprehensive_ai_analysis",
    "onboarding_data_used",
    "strategic_scores",
    "market_positioning",
    "competitive_advantages",
    "strategic_risks",
    "opportunity_analysis",
    "data_source_transparency",
];

/// The optional members of `onboarding_data` that are no objects.
const ONBOARDING_OPTIONAL: [&str; 5] =
    ["industry", "target_audience", "research_depth", "auto_research", "factual_content"];
/// Its optional objects.
const ONBOARDING_OBJECTS: [&str; 6] = [
    "visual_style",
    "strategy_insights",
    "seo_profile",
    "competitive_intelligence",
    "business_info",
    "research_preferences",
];

/// Members that have a constant where nothing is known, and their own keys in `sources`.
const WRITING: [&str; 4] = ["writing_tone", "writing_voice", "writing_complexity", "writing_engagement"];

fn shape_document(document: &mut Map<String, Json>) {
    for key in OBJECTS {
        document.entry(key).or_insert_with(|| json!({}));
    }
    let audience = document.remove("target_audience").unwrap_or_default();
    document.insert("target_audience".to_owned(), audience_object(audience));
    let times = document["onboarding_data"].get("optimal_times").cloned();
    document.insert("optimal_times".to_owned(), times.unwrap_or_else(|| json!([])));
    document.insert("ai_analysis".to_owned(), document["ai_analysis_results"].clone());
}

/// Step 3 asks the audience for its `primary`.
fn audience_object(audience: Json) -> Json {
    match audience {
        Json::Object(_) => audience,
        Json::Array(_) => json!({"demographics": audience}),
        Json::String(_) => json!({"primary": audience}),
        Json::Null => json!({}),
        Json::Bool(_) | Json::Number(_) => json!({"primary": audience.to_string()}),
    }
}

fn strategy(strategy: &mut Json) {
    let Json::Object(strategy) = strategy else { return };
    for key in STRATEGY_OPTIONAL {
        strategy.entry(key).or_insert(Json::Null);
    }
    let pillars = strategy.get("pillars").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    strategy.insert("content_pillars".to_owned(), pillar_weights(pillars).unwrap_or_else(|| pillar_names(pillars)));
}

/// Step 5 takes pillars as `{name: weight}`. None if one has no weight, or shares its name with another.
fn pillar_weights(pillars: &[Json]) -> Option<Json> {
    let mut weights = Map::new();
    for pillar in pillars {
        let (name, weight) = (pillar.get("name")?.as_str()?, pillar.get("weight")?.as_f64()?);
        if weights.insert(name.to_owned(), as_stored(weight)).is_some() {
            return None;
        }
    }
    (!weights.is_empty()).then_some(Json::Object(weights))
}

/// It takes `[name]`, too.
fn pillar_names(pillars: &[Json]) -> Json {
    pillars.iter().filter_map(|pillar| pillar.get("name").cloned()).collect()
}

/// A weight of 50 is stored as `50`, which a double prints as `50.0`.
fn as_stored(number: f64) -> Json {
    match format!("{number:.0}").parse::<i64>() {
        Ok(whole) if number.fract() == 0.0 && whole.abs() < 1 << 53 => whole.into(),
        _ => number.into(),
    }
}

fn shape_onboarding(onboarding: &mut Json, callers: CallerGeneration) {
    let Json::Object(onboarding) = onboarding else { return };
    for key in ONBOARDING_OPTIONAL {
        onboarding.entry(key).or_insert(Json::Null);
    }
    for key in ONBOARDING_OBJECTS {
        onboarding.entry(key).or_insert_with(|| json!({}));
    }
    if callers == CallerGeneration::Newest {
        for key in WRITING {
            let Some(Json::Object(sources)) = onboarding.get_mut("sources") else { return };
            if sources.get(key).is_some_and(|source| source == "default") {
                // A source is named only for a value that there is.
                sources.remove(key);
                onboarding.insert(key.to_owned(), Json::Null);
            }
        }
    }
}

/// Digits become the number that they are. Others, and digits that say more than the number (`01`), stay a text.
fn become_number(value: &mut Json, numbers: RangeInclusive<i64>) {
    let Json::String(text) = value else { return };
    if let Ok(number) = text.parse::<i64>()
        && numbers.contains(&number)
        && number.to_string() == *text
    {
        *value = number.into();
    }
}

/// Calls `change` with every value at a path.
fn at(json: &mut Json, path: &[&str], change: &mut impl FnMut(&mut Json)) {
    match (path, json) {
        ([], json) => change(json),
        (["*", rest @ ..], Json::Array(items)) => items.iter_mut().for_each(|item| at(item, rest, change)),
        ([key, rest @ ..], Json::Object(object)) => {
            if let Some(json) = object.get_mut(*key) {
                at(json, rest, change);
            }
        }
        _ => {}
    }
}
