//! The planning application's own shape of the demo's documents: what its calendar steps read is there, and of the type
//! that they take. Which step reads what is in docs/data.md section 16.

use serde_json::{Map, Value as Json};
use testkit::{
    assembly::{DEMO_USERS, aggregator, assemble, base_day, document, noon, patient},
    database::Kind,
    seeded::seeded,
};
use userdata::{
    planning_json::{CallerGeneration, planning_json},
    proto::v1::ComprehensiveUserData,
};

const CALLERS: [CallerGeneration; 3] = [CallerGeneration::Aug22, CallerGeneration::Jun26, CallerGeneration::Newest];

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_steps_can_read_every_demo_users_document() {
    let (_place, db) = seeded(Kind::Sqlite, base_day()).await;
    let aggregator = aggregator(&db, &patient());
    let (mut weighted, mut named) = (0, 0);
    for user in DEMO_USERS {
        let assembled = assemble(&aggregator, user, None, noon()).await.unwrap();
        let document = document(&assembled);
        for callers in CALLERS {
            let json = planning_json(&document, callers).unwrap();
            match steps_can_read(&document, &json)
                .unwrap_or_else(|what| panic!("{user}, {callers:?}: {what}\n{json:#}"))
            {
                Some(Pillars::Weighted) => weighted += 1,
                Some(Pillars::Named) => named += 1,
                None => {}
            }
        }
    }
    assert!(weighted > 0 && named > 0, "the demo has pillars with weights ({weighted}) and without ({named})");
}

/// How step 5 finds the pillars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pillars {
    Weighted,
    Named,
}

/// Checks what the steps read, in their order; the pillars' form, or what is not as they need it.
pub(crate) fn steps_can_read(document: &ComprehensiveUserData, json: &Json) -> Result<Option<Pillars>, String> {
    let keys = [
        "onboarding_data",
        "website_analysis",
        "competitor_analysis",
        "keyword_analysis",
        "strategy_data",
        "strategy_analysis",
        "quality_indicators",
        "ai_analysis_results",
        "ai_analysis",
        "gap_analysis",
        "performance_data",
    ];
    for key in keys {
        object(json, key)?;
    }
    texts(&json["business_goals"]).ok_or("business_goals")?;
    json["recommendations_data"].as_array().ok_or("recommendations_data")?;
    json["industry"].as_str().filter(|industry| !industry.is_empty()).ok_or("industry")?;
    if json["ai_analysis"] != json["ai_analysis_results"] {
        return Err("ai_analysis".to_owned());
    }
    audience_and_platforms(json)?;
    calendar(&json["onboarding_data"])?;
    match &document.strategy_data {
        Some(_) => strategy(&json["strategy_data"]).map(Some),
        None if object(json, "strategy_data")?.is_empty() => Ok(None),
        None => Err("strategy_data without a strategy".to_owned()),
    }
}

/// Steps 3 and 6: all of it has to be filled, or the step's result is refused.
fn audience_and_platforms(json: &Json) -> Result<(), String> {
    let audience = object(json, "target_audience")?;
    let platforms = object(json, "platform_preferences")?;
    let times = texts(&json["optimal_times"]).ok_or("optimal_times")?;
    if audience.is_empty() || platforms.is_empty() || times == 0 {
        return Err("step 3 needs audience, platforms and times".to_owned());
    }
    for (platform, preference) in platforms {
        for key in ["priority", "content_focus", "posting_frequency", "engagement_strategy"] {
            preference[key].as_str().ok_or(format!("{key} of {platform}"))?;
        }
    }
    Ok(())
}

/// Step 4.
fn calendar(onboarding: &Json) -> Result<(), String> {
    for key in ["daily", "weekly", "monthly"] {
        onboarding["posting_preferences"][key].as_i64().filter(|posts| *posts > 0).ok_or(key)?;
    }
    for key in ["posting_days", "optimal_times"] {
        texts(&onboarding[key]).filter(|count| *count > 0).ok_or(key)?;
    }
    Ok(())
}

/// Steps 4 and 5.
fn strategy(strategy: &Json) -> Result<Pillars, String> {
    strategy["strategy_id"].as_i64().ok_or("strategy_id")?;
    texts(&strategy["business_goals"]).ok_or("business_goals of the strategy")?;
    strategy.get("business_objectives").ok_or("business_objectives")?;
    strategy.get("industry").ok_or("industry of the strategy")?;
    match &strategy["content_pillars"] {
        Json::Object(weights) if weights.values().all(Json::is_number) && !weights.is_empty() => Ok(Pillars::Weighted),
        pillars if texts(pillars).is_some() => Ok(Pillars::Named),
        pillars => Err(format!("content_pillars: {pillars}")),
    }
}

fn object<'a>(json: &'a Json, key: &str) -> Result<&'a Map<String, Json>, String> {
    json[key].as_object().ok_or_else(|| key.to_owned())
}

/// How many texts an array has that has nothing else.
fn texts(json: &Json) -> Option<usize> {
    let items = json.as_array()?;
    items.iter().all(Json::is_string).then_some(items.len())
}
