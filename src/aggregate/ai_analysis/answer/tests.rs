//! Each limit of the answer's table, reached and exceeded.

use serde_json::json;
use servers::ai::valid_answer as answer;

use super::{super::reply::ModelReply, *};
use crate::testing::withstands_mutated;

fn reason(value: &Json) -> Option<FailureReason> {
    ModelAnswer::read(&value.to_string()).err().map(|failure| failure.reason)
}

#[test]
fn an_answer_becomes_the_message() {
    let results = ModelAnswer::read(&answer().to_string()).unwrap().results();
    assert_eq!(results.generator(), Generator::Model);
    let position = results.market_positioning.unwrap();
    assert_eq!(position.market_share.as_deref(), Some("small"));
    assert_eq!(position.differentiation_factors, ["depth"]);
    assert_eq!(results.competitive_advantages[0].strength, "high");
    let scores = results.strategic_scores.unwrap();
    assert_eq!((scores.market_positioning_score, scores.competitive_advantage_score), (0.0, 1.0));
    assert_eq!(results.risk_assessment[0].severity, "low");
    assert_eq!(results.opportunity_analysis[0].action_items, ["go"]);
    let recommendation = &results.content_recommendations[0];
    assert_eq!(recommendation.ai_confidence, Some(0.75));
    assert_eq!(recommendation.generator(), Generator::Model);
    assert_eq!(recommendation.implementation_time, "soon\nor later", "controls but newlines are removed");
}

#[test]
fn each_limit_may_be_reached_and_not_exceeded_by_one() {
    for (at, max) in [
        ("/market_positioning/industry_position", 200),
        ("/market_positioning/competitive_advantage", 200),
        ("/market_positioning/market_share", 200),
        ("/market_positioning/differentiation_factors/0", 200),
        ("/competitive_advantages/0/type", 100),
        ("/competitive_advantages/0/name", 200),
        ("/competitive_advantages/0/description", 1000),
        ("/risk_assessment/0/type", 1000),
        ("/risk_assessment/0/description", 1000),
        ("/risk_assessment/0/mitigation", 1000),
        ("/opportunity_analysis/0/type", 1000),
        ("/opportunity_analysis/0/description", 1000),
        ("/opportunity_analysis/0/action_items/0", 300),
        ("/content_recommendations/0/type", 200),
        ("/content_recommendations/0/title", 200),
        ("/content_recommendations/0/description", 2000),
        ("/content_recommendations/0/estimated_impact", 200),
        ("/content_recommendations/0/implementation_time", 200),
        ("/content_recommendations/0/content_suggestions/0", 500),
    ] {
        assert_eq!(reason(&with(at, "é".repeat(max).into())), None, "{at}");
        assert_eq!(reason(&with(at, "é".repeat(max + 1).into())), Some(FailureReason::Invalid), "{at}");
    }
    for (at, max) in [
        ("/market_positioning/differentiation_factors", 10),
        ("/competitive_advantages", 10),
        ("/risk_assessment", 10),
        ("/opportunity_analysis", 10),
        ("/opportunity_analysis/0/action_items", 6),
        ("/content_recommendations", 12),
        ("/content_recommendations/0/content_suggestions", 8),
    ] {
        let element = answer().pointer(at).unwrap()[0].clone();
        assert_eq!(reason(&with(at, vec![element.clone(); max].into())), None, "{at}");
        assert_eq!(reason(&with(at, vec![element; max + 1].into())), Some(FailureReason::Invalid), "{at}");
    }
    for at in ["/strategic_scores/content_strategy_score", "/content_recommendations/0/ai_confidence"] {
        for (share, expected) in
            [(0.0, None), (1.0, None), (1.01, Some(FailureReason::Invalid)), (-0.01, Some(FailureReason::Invalid))]
        {
            assert_eq!(reason(&with(at, share.into())), expected, "{at}");
        }
    }
    assert_eq!(reason(&with("/content_recommendations", json!([]))), Some(FailureReason::Invalid));
}

fn with(at: &str, value: Json) -> Json {
    let mut answer = answer();
    *answer.pointer_mut(at).unwrap() = value;
    answer
}

#[test]
fn members_missing_unknown_or_of_another_type_are_invalid() {
    for (at, value) in [
        ("/market_positioning", json!(["a", "b", "c", []])),
        ("/market_positioning/market_share", json!(null)),
        ("/competitive_advantages", json!({})),
        ("/strategic_scores/market_positioning_score", json!("0.5")),
        ("/risk_assessment/0", json!("risk")),
        ("/risk_assessment/0/severity", json!("High")),
        ("/opportunity_analysis/0/priority", json!("")),
        ("/content_recommendations/0/ai_confidence", json!(null)),
        ("/content_recommendations/0/title", json!([[[[[[[[["deep"]]]]]]]]])),
        ("", json!([])),
    ] {
        assert_eq!(reason(&with(at, value)), Some(FailureReason::Invalid), "{at}");
    }
    let whole = answer();
    for at in ["", "/market_positioning", "/strategic_scores", "/content_recommendations/0"] {
        let mut unknown = whole.clone();
        unknown.pointer_mut(at).unwrap()["extra"] = json!(1);
        assert_eq!(reason(&unknown), Some(FailureReason::Invalid), "unknown in {at}");
        for name in whole.pointer(at).unwrap().as_object().unwrap().keys() {
            let mut missing = whole.clone();
            missing.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(name);
            assert_eq!(reason(&missing), Some(FailureReason::Invalid), "{name} missing in {at}");
        }
    }
}

#[test]
fn what_is_not_json_is_malformed_and_what_is_long_too_large() {
    for broken in ["", "{", "NaN", r#"{"a": "\ud800"}"#] {
        assert_eq!(ModelAnswer::read(broken).unwrap_err().reason, FailureReason::Malformed, "{broken}");
    }
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(BYTES_MAX));
    for large in [long.clone(), format!("Here: {long}"), "x".repeat(TEXT_BYTES_MAX + 1)] {
        assert_eq!(ModelAnswer::read(&large).unwrap_err().reason, FailureReason::TooLarge);
    }
}

#[test]
fn failures_repeat_nothing_of_the_answer() {
    for broken in [r#"{"secret": 1}"#, "secret", r#"["secret"]"#] {
        assert!(!ModelAnswer::read(broken).unwrap_err().detail.contains("secret"));
    }
}

#[test]
fn any_reply_is_an_answer_within_its_limits_or_a_failure() {
    let envelope = |answer: &Json| {
        let message = json!({"role": "assistant", "content": answer.to_string()});
        let reply = json!({"model": "m", "choices": [{"finish_reason": "stop", "message": message}], "usage": {"prompt_tokens": 1}});
        reply.to_string().into_bytes()
    };
    let valid = [envelope(&answer()), answer().to_string().into_bytes()];
    let (mut read, mut refused) = (0, 0);
    // serde_json makes a value of some 70 bytes of each `0,`, and vectors double.
    withstands_mutated(
        &valid,
        |length| 256 * length + 64 * 1024,
        |bytes| {
            let envelope = ModelReply::read(&bytes).and_then(|reply| reply.answer());
            let bare = ModelAnswer::read(&String::from_utf8_lossy(&bytes));
            for answer in [envelope, bare] {
                match answer {
                    Ok(answer) => {
                        read += 1;
                        assert!(answer.results().content_recommendations.len() < 100);
                    }
                    Err(_) => refused += 1,
                }
            }
        },
    );
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the inputs are not nearly right");
}
