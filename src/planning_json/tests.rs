//! The planning application's shape: each rule with the smallest document that needs it.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::*;
use crate::proto::{
    DESCRIPTORS, Value,
    v1::{
        ContentRecommendation, GapAnalysis, KeywordOpportunity, OnboardingData, PerformanceAggregate, PerformanceData,
        PerformanceWindow, Pillar, StrategyData,
    },
};

fn shaped(document: &ComprehensiveUserData, callers: CallerGeneration) -> Json {
    planning_json(document, callers).unwrap()
}

fn newest(document: &ComprehensiveUserData) -> Json {
    shaped(document, CallerGeneration::Newest)
}

fn with_audience(audience: Json) -> Json {
    let document = ComprehensiveUserData { target_audience: Some(audience.into()), ..Default::default() };
    newest(&document)["target_audience"].clone()
}

fn with_pillars(pillars: &[(&str, Option<f64>)]) -> Json {
    let pillar = |(name, weight): &(&str, Option<f64>)| Pillar {
        name: (*name).to_owned(),
        weight: *weight,
        topics: vec!["a topic".to_owned()],
        ..Default::default()
    };
    let pillars = pillars.iter().map(pillar).collect();
    let stored: Option<Value> = Some(json!([{"name": "as stored"}]).into());
    let strategy = StrategyData { pillars, content_pillars: stored, ..Default::default() };
    newest(&ComprehensiveUserData { strategy_data: Some(strategy), ..Default::default() })["strategy_data"].clone()
}

#[test]
fn pillars_are_names_with_weights_or_names() {
    let weighted = with_pillars(&[("Stories", Some(12.5)), ("Guides", Some(50.0))]);
    assert_eq!(weighted["content_pillars"].to_string(), r#"{"Guides":50,"Stories":12.5}"#);
    assert_eq!(weighted["pillars"][0]["topics"], json!(["a topic"]), "the whole pillars are still there");
    let of_one = with_pillars(&[("Guides", Some(50.0)), ("Stories", None)]);
    assert_eq!(of_one["content_pillars"], json!(["Guides", "Stories"]));
    let doubled = with_pillars(&[("Guides", Some(50.0)), ("Guides", Some(10.0))]);
    assert_eq!(doubled["content_pillars"], json!(["Guides", "Guides"]), "none is lost");
    assert_eq!(with_pillars(&[])["content_pillars"], json!([]));
}

#[test]
fn the_audience_is_an_object() {
    assert_eq!(with_audience(json!("founders")), json!({"primary": "founders"}));
    assert_eq!(with_audience(json!(["founders", "teams"])), json!({"demographics": ["founders", "teams"]}));
    let stored = json!({"primary": "founders", "age": 40});
    assert_eq!(with_audience(stored.clone()), stored);
    assert_eq!(with_audience(json!(7)), json!({"primary": "7"}));
    assert_eq!(with_audience(Json::Null), json!({}));
    assert_eq!(newest(&ComprehensiveUserData::default())["target_audience"], json!({}));
}

#[test]
fn what_is_absent_is_there_and_empty() {
    let empty = newest(&ComprehensiveUserData::default());
    for key in OBJECTS {
        assert_eq!(empty[key], json!({}), "{key}");
    }
    assert_eq!(empty["ai_analysis"], json!({}));
    assert_eq!(empty["optimal_times"], json!([]));
    assert_eq!(empty["recommendations_data"], json!([]));

    let document = ComprehensiveUserData {
        strategy_data: Some(StrategyData::default()),
        onboarding_data: Some(OnboardingData::default()),
        ..Default::default()
    };
    let empty = newest(&document);
    assert!(STRATEGY_OPTIONAL.iter().all(|key| *key == "content_pillars" || empty["strategy_data"][key] == Json::Null));
    assert_eq!(empty["strategy_data"].as_object().unwrap().len(), STRATEGY_OPTIONAL.len() + 6);
    assert!(ONBOARDING_OPTIONAL.iter().all(|key| empty["onboarding_data"].get(key) == Some(&Json::Null)));
    assert!(ONBOARDING_OBJECTS.iter().all(|key| empty["onboarding_data"][key] == json!({})));
}

/// A document with a 64-bit integer wherever one can be.
fn with_large_numbers() -> ComprehensiveUserData {
    let reach = |total_reach| PerformanceAggregate { total_reach: Some(total_reach), ..Default::default() };
    let window =
        PerformanceWindow { overall: Some(reach(5_000_000_000)), platforms: vec![reach(-1)], ..Default::default() };
    ComprehensiveUserData {
        user_id: "7".into(),
        strategy_data: Some(StrategyData { strategy_id: 9, user_id: "7".into(), ..Default::default() }),
        gap_analysis: Some(GapAnalysis {
            keyword_opportunities: vec![KeywordOpportunity { search_volume: Some(2400), ..Default::default() }],
            ..Default::default()
        }),
        performance_data: Some(PerformanceData {
            windows: vec![window],
            strategy_ids: vec![3, 4],
            ..Default::default()
        }),
        recommendations_data: vec![ContentRecommendation {
            strategy_id: Some(9),
            user_id: "7".into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn integers_are_numbers() {
    let json = newest(&with_large_numbers());
    assert_eq!(json["strategy_data"]["strategy_id"], json!(9));
    assert_eq!(json["gap_analysis"]["keyword_opportunities"][0]["search_volume"], json!(2400));
    assert_eq!(json["performance_data"]["windows"][0]["overall"]["total_reach"], json!(5_000_000_000_i64));
    assert_eq!(json["performance_data"]["windows"][0]["platforms"][0]["total_reach"], json!(-1));
    assert_eq!(json["performance_data"]["strategy_ids"], json!([3, 4]));
    assert_eq!(json["recommendations_data"][0]["strategy_id"], json!(9));
    let stored = json!({"visits": 40000, "share": 0.5, "exact": 85.0});
    let strategy = StrategyData { target_metrics: Some(stored.into()), ..Default::default() };
    let document = ComprehensiveUserData { strategy_data: Some(strategy), ..Default::default() };
    let free_form = newest(&document)["strategy_data"]["target_metrics"].to_string();
    assert_eq!(free_form, r#"{"exact":85,"share":0.5,"visits":40000}"#);
}

#[test]
fn user_ids_are_numbers_only_for_the_first_callers() {
    let ids = |json: &Json| {
        [&json["user_id"], &json["strategy_data"]["user_id"], &json["recommendations_data"][0]["user_id"]]
            .map(Clone::clone)
    };
    let mut document = with_large_numbers();
    assert_eq!(ids(&shaped(&document, CallerGeneration::Aug22)), [json!(7), json!(7), json!(7)]);
    for callers in [CallerGeneration::Jun26, CallerGeneration::Newest] {
        assert_eq!(ids(&shaped(&document, callers)), [json!("7"), json!("7"), json!("7")]);
    }
    for id in ["user_33Gz", "01", "+1", "-1", "2147483648", ""] {
        document.user_id = id.to_owned();
        assert_eq!(shaped(&document, CallerGeneration::Aug22)["user_id"], json!(id));
    }
}

#[test]
fn a_writing_style_that_is_only_ours_is_null_for_the_newest_callers() {
    let sources =
        [("writing_tone", "default"), ("writing_voice", "website_analysis"), ("writing_engagement", "default")];
    let onboarding = OnboardingData {
        writing_tone: "professional".into(),
        writing_voice: "active".into(),
        writing_complexity: "advanced".into(),
        writing_engagement: "moderate".into(),
        sources: sources.map(|(key, source)| (key.to_owned(), source.to_owned())).into(),
        ..Default::default()
    };
    let document = ComprehensiveUserData { onboarding_data: Some(onboarding), ..Default::default() };
    let json = &newest(&document)["onboarding_data"];
    assert_eq!(WRITING.map(|key| json[key].clone()), [Json::Null, json!("active"), json!("advanced"), Json::Null]);
    assert_eq!(json["sources"], json!({"writing_voice": "website_analysis"}));
    for callers in [CallerGeneration::Aug22, CallerGeneration::Jun26] {
        let json = &shaped(&document, callers)["onboarding_data"];
        assert_eq!(json["writing_tone"], json!("professional"));
        assert_eq!(json["sources"]["writing_tone"], json!("default"));
    }
}

fn described() -> MessageDescriptor {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    pool.get_message_by_name("userdata.v1.ComprehensiveUserData").unwrap()
}

fn names(fields: impl Iterator<Item = FieldDescriptor>) -> BTreeSet<String> {
    fields.map(|field| field.name().to_owned()).collect()
}

fn set<'a>(keys: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    keys.into_iter().map(str::to_owned).collect()
}

/// The paths of all 64-bit integers below a message.
fn int64_paths(message: &MessageDescriptor, above: &[String], paths: &mut BTreeSet<Vec<String>>) {
    for field in message.fields() {
        let mut path = above.to_vec();
        path.push(field.name().to_owned());
        if field.is_list() || field.is_map() {
            path.push("*".to_owned());
        }
        match field.kind() {
            Kind::Int64 | Kind::Uint64 => {
                paths.insert(path);
            }
            Kind::Message(inner) if inner.full_name().starts_with("userdata.") => int64_paths(&inner, &path, paths),
            _ => {}
        }
    }
}

#[test]
fn the_contract_has_no_other_64_bit_integers() {
    let mut paths = BTreeSet::new();
    int64_paths(&described(), &[], &mut paths);
    assert_eq!(paths, INT64.iter().map(|path| path.iter().map(|key| (*key).to_owned()).collect()).collect());
}

#[test]
fn every_member_that_can_be_absent_is_filled_in() {
    let fields = |of: &str| {
        let message = described().get_field_by_name(of).unwrap().kind();
        names(message.as_message().unwrap().fields().filter(FieldDescriptor::supports_presence))
    };
    let document = names(described().fields().filter(FieldDescriptor::supports_presence));
    assert_eq!(document, &set(OBJECTS) | &set(["target_audience"]));
    let always = set(["strategy_analysis", "quality_indicators", "data_completeness", "strategic_alignment"]);
    assert_eq!(fields("strategy_data"), &set(STRATEGY_OPTIONAL) | &always);
    let always =
        set(["posting_preferences", "website_analysis", "competitor_analysis", "gap_analysis", "keyword_analysis"]);
    assert_eq!(fields("onboarding_data"), &(&set(ONBOARDING_OPTIONAL) | &set(ONBOARDING_OBJECTS)) | &always);
}
