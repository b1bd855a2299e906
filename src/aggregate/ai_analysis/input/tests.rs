//! The keys, their limits, and what is left out when.

use super::{
    super::fixture::{competitor, onboarding, plain_strategy, strategy},
    *,
};
use crate::{
    aggregate::rows::{Onboarding, Strategy},
    proto::v1::WebsiteAnalysis,
};

fn input(onboarding: &Onboarding, strategy: Option<&Strategy>) -> Json {
    let input = Input::new(&Subject::new(onboarding, strategy)).unwrap();
    assert!(input.text().len() <= BYTES_MAX);
    serde_json::from_str(input.text()).unwrap()
}

#[test]
fn the_input_has_exactly_the_keys_and_unknown_ones_are_null() {
    let mut bare = Onboarding::default();
    bare.data.industry = Some("Retail".to_owned());
    let nothing = json!({
        "industry": "Retail", "target_audience": null,
        "writing": {"tone": null, "voice": null, "complexity": null},
        "brand_values": null, "content_types": null, "pillars": null, "business_objectives": null,
        "pain_points": null, "preferred_formats": null, "content_frequency": null, "market_gaps": null,
        "competitors": null, "content_gaps": null, "keywords": null, "seo": {"site": null, "homepage": null},
    });
    assert_eq!(input(&bare, None), nothing);
}

#[test]
fn every_list_has_its_limit() {
    let mut known = onboarding("website_analysis");
    known.competitors = (0..9).map(|n| competitor(&format!("c{n}.example"), f64::from(n))).collect();
    let many = || json!((0..12).map(|n| format!("x{n}")).collect::<Vec<_>>());
    let topics = (0..9).map(|n| format!("t{n}")).collect::<Vec<_>>();
    let pillars = (0..13).map(|n| json!({"name": format!("p{n}"), "topics": topics})).collect::<Vec<_>>();
    let mut strategy = strategy(pillars.into());
    strategy.row["business_objectives"] = many();
    strategy.row["audience_pain_points"] = many();
    strategy.row["preferred_formats"] = many();
    strategy.row["market_gaps"] = many();
    strategy.row["content_frequency"] = " weekly ".into();
    let input = input(&known, Some(&strategy));
    for (key, length) in [
        ("brand_values", 10),
        ("content_types", 20),
        ("pillars", 12),
        ("business_objectives", 10),
        ("pain_points", 10),
        ("preferred_formats", 10),
        ("market_gaps", 10),
        ("competitors", 8),
        ("content_gaps", 10),
        ("keywords", 20),
    ] {
        assert_eq!(input[key].as_array().map(Vec::len), Some(length), "{key}");
    }
    assert_eq!(input["pillars"][0]["topics"].as_array().map(Vec::len), Some(8));
    assert_eq!(input["content_frequency"], "weekly");
    assert_eq!(input["competitors"][0]["domain"], "c8.example");
    assert_eq!(input["competitors"][0]["title"], "About c8.example");
    assert_eq!(input["competitors"][0]["summary"], "s".repeat(400));
    // 64.5 and 71.5: ties to even.
    assert_eq!(input["seo"], json!({"site": 64, "homepage": 72}));
    assert_eq!(input["target_audience"], json!({"age": "18-30"}));
}

#[test]
fn too_large_inputs_lose_summaries_then_descriptions_then_the_audience() {
    // In canonical JSON an é takes six bytes: 24 KB without topics, of which 2.4 KB are the
    // summary, 14.4 KB the descriptions and 5.4 KB the audience.
    let six_pillars = |topics: usize, chars: usize| {
        let topics = (0..topics).map(|n| format!("{n}{}", "é".repeat(chars))).collect::<Vec<_>>();
        let pillar = json!({"name": "p", "description": "é".repeat(400), "topics": topics});
        let mut strategy = strategy(vec![pillar; 6].into());
        strategy.row["target_audience"] = json!("é".repeat(900));
        strategy
    };
    let mut known = onboarding("website_analysis");
    known.competitors[0].analysis_data["summary"] = "é".repeat(400).into();
    for (topics, chars, expected) in [
        (0, 0, [true, true, true]),
        (1, 60, [false, true, true]),
        (1, 220, [false, false, true]),
        (2, 260, [false, false, false]),
    ] {
        let input = input(&known, Some(&six_pillars(topics, chars)));
        let kept = [
            !input["competitors"][0]["summary"].is_null(),
            !input["pillars"][0]["description"].is_null(),
            !input["target_audience"].is_null(),
        ];
        assert_eq!(kept, expected, "{topics} topics of {chars}");
        assert_eq!(input["competitors"][0]["title"], "About rival.example");
        assert_eq!(input["content_gaps"][0], "gap 1");
    }
}

#[test]
fn whatever_is_stored_fits() {
    let long = || json!((0..50).map(|n| format!("{n}{}", "😀".repeat(600))).collect::<Vec<_>>());
    let pillar = json!({"name": "😀".repeat(600), "description": "😀".repeat(600), "topics": long()});
    let mut strategy = strategy(vec![pillar; 20].into());
    strategy.row["industry"] = "😀".repeat(600).into();
    strategy.row["content_frequency"] = "😀".repeat(600).into();
    strategy.row["business_objectives"] = long();
    strategy.row["market_gaps"] = long();
    let mut known = onboarding("website_analysis");
    known.data.writing_tone = "😀".repeat(600);
    known.data.writing_voice = "😀".repeat(600);
    known.data.writing_complexity = "😀".repeat(600);
    let input = input(&known, Some(&strategy));
    assert_eq!(input["industry"].as_str().map(|text| text.chars().count()), Some(300));
}

#[test]
fn a_large_audience_is_unknown() {
    let mut strategy = plain_strategy();
    strategy.row["target_audience"] = "x".repeat(2046).into();
    assert_eq!(input(&Onboarding::default(), Some(&strategy))["target_audience"], "x".repeat(2046));
    strategy.row["target_audience"] = "x".repeat(2047).into();
    assert_eq!(input(&Onboarding::default(), Some(&strategy))["target_audience"], Json::Null);
}

#[test]
fn rule_defaults_alone_are_nothing_to_ask_about() {
    let mut empty = onboarding("rule_default");
    empty.data.industry = None;
    empty.competitors.clear();
    let asks = |onboarding: &Onboarding, strategy: Option<&Strategy>| {
        Input::new(&Subject::new(onboarding, strategy)).is_some()
    };
    assert!(!asks(&empty, None));
    let mut objectives = strategy(json!([]));
    assert!(!asks(&empty, Some(&objectives)));
    objectives.row["business_objectives"] = json!("grow");
    assert!(asks(&empty, Some(&objectives)));
    assert!(asks(&empty, Some(&strategy(json!(["p"])))));
    let mut found = onboarding("content_gap_analyses");
    found.data.industry = None;
    found.competitors.clear();
    assert!(asks(&found, None));
    empty.competitors.push(competitor("rival.example", 1.0));
    assert!(asks(&empty, None));
}

fn asking() -> Asking<'static> {
    let structured = Structured::JsonSchema;
    Asking {
        model: "m",
        prompt_version: "1",
        temperature: Some(0.2),
        max_output_tokens: 4096,
        token_limit_field: TokenLimitField::MaxTokens,
        structured,
    }
}

#[test]
fn the_response_key_is_of_the_input_and_of_how_the_model_is_asked() {
    let key = |industry: &str, asking: Asking<'_>| {
        let mut bare = Onboarding::default();
        bare.data.industry = Some(industry.to_owned());
        Input::new(&Subject::new(&bare, None)).unwrap().response_key(&asking)
    };
    let one = key("Retail", asking());
    assert_eq!(one, key("Retail", asking()));
    // Of the canonical text, computed by another implementation.
    assert_eq!(one.as_str(), "8b1668be39fc0fa829e3389d027b4a4451d8bcbe62a44c3593fb68cc7c49db96");
    for other in [
        key("Retai", asking()),
        key("Retail", Asking { model: "n", ..asking() }),
        key("Retail", Asking { prompt_version: "2", ..asking() }),
        key("Retail", Asking { temperature: Some(0.3), ..asking() }),
        key("Retail", Asking { temperature: None, ..asking() }),
        key("Retail", Asking { token_limit_field: TokenLimitField::MaxCompletionTokens, ..asking() }),
        key("Retail", Asking { token_limit_field: TokenLimitField::None, ..asking() }),
        key("Retail", Asking { max_output_tokens: 4095, ..asking() }),
        key("Retail", Asking { structured: Structured::JsonObject, ..asking() }),
    ] {
        assert_ne!(one, other);
    }
}

/// A user's rows before and after a change.
fn changed(change: fn(&mut Onboarding, &mut Strategy)) -> bool {
    let (mut onboarding, mut strategy) = (onboarding("website_analysis"), plain_strategy());
    let key = |onboarding: &Onboarding, strategy: &Strategy| {
        Input::new(&Subject::new(onboarding, Some(strategy))).unwrap().response_key(&asking())
    };
    let before = key(&onboarding, &strategy);
    change(&mut onboarding, &mut strategy);
    before != key(&onboarding, &strategy)
}

#[test]
fn what_the_model_is_told_is_part_of_the_key() {
    let changes: [fn(&mut Onboarding, &mut Strategy); 20] = [
        |_, s| s.row["industry"] = "x".into(),
        |_, s| s.row["target_audience"] = json!("x"),
        |_, s| s.pillars[0].name = "x".to_owned(),
        |_, s| s.pillars[0].description = Some("x".to_owned()),
        |_, s| s.pillars[0].topics = vec!["x".to_owned()],
        |_, s| s.row["business_objectives"] = json!("x"),
        |_, s| s.row["audience_pain_points"] = json!("x"),
        |_, s| s.row["preferred_formats"] = json!("x"),
        |_, s| s.row["content_frequency"] = "x".into(),
        |_, s| s.row["market_gaps"] = json!("x"),
        |o, _| o.data.writing_tone = "x".to_owned(),
        |o, _| o.data.writing_voice = "x".to_owned(),
        |o, _| o.data.writing_complexity = "x".to_owned(),
        |o, _| o.data.brand_values = vec!["x".to_owned()],
        |o, _| o.data.content_types = vec!["x".to_owned()],
        |o, _| o.competitors[0].domain = "x".to_owned(),
        |o, _| o.competitors[0].analysis_data["summary"] = json!("x"),
        |o, _| o.data.gap_analysis.as_mut().unwrap().content_gaps.clear(),
        |o, _| o.data.keyword_analysis.as_mut().unwrap().high_value_keywords.clear(),
        |o, _| o.website.seo_audit = json!({"overall_score": 1}),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        assert!(changed(change), "{place}");
    }
}

#[test]
fn what_changes_without_meaning_is_no_part_of_the_key() {
    let changes: [fn(&mut Onboarding, &mut Strategy); 16] = [
        |_, s| s.resolved.id += 1,
        |_, s| s.row["name"] = "x".into(),
        |_, s| s.row["created_at"] = json!(chrono::DateTime::UNIX_EPOCH),
        |_, s| s.row["updated_at"] = json!(chrono::DateTime::UNIX_EPOCH),
        |_, s| s.row["completion_percentage"] = 12.5.into(),
        |_, s| s.row["performance_metrics"] = json!({"roi_ratio": 3}),
        |_, s| s.row["ai_recommendations"] = json!("x"),
        |_, s| s.pillars[0].weight = Some(12.5),
        |o, _| {
            o.data.website_analysis = Some(WebsiteAnalysis { website_url: Some("x".to_owned()), ..Default::default() })
        },
        |o, _| o.data.research_depth = Some("x".to_owned()),
        |o, _| o.competitors[0].url = "x".to_owned(),
        |o, _| o.competitors[0].analysis_date = Some(chrono::DateTime::UNIX_EPOCH),
        |o, _| o.competitors[0].updated_at = Some(chrono::DateTime::UNIX_EPOCH),
        |o, _| o.competitors[0].analysis_data["completed_at"] = json!("x"),
        // Seven pages more, and the mean is the same.
        |o, _| {
            let summary = o.data.seo_profile.as_mut().unwrap().full_site_seo_summary.as_mut().unwrap();
            (summary.pages_audited, summary.pages_scored, summary.avg_score) = (10, 9, 64.4);
        },
        |o, _| o.session = true,
    ];
    for (place, change) in changes.into_iter().enumerate() {
        assert!(!changed(change), "{place}");
    }
}
