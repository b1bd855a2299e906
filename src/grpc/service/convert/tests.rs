//! What is legal becomes a question, and every illegal field is named.

use std::collections::BTreeMap;

use prost::Message as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::{
    grpc::{request_id::RequestId, status},
    model::SECTIONS,
    proto::{Kind, ListValue, Struct},
    testing::withstands_mutated,
};

/// The fields that a refusal names.
fn fields<T: std::fmt::Debug>(parsed: Result<T, Refusal>) -> Vec<String> {
    let status = status::of(&parsed.expect_err("refused"), &RequestId::create());
    assert_eq!(status.code(), Code::InvalidArgument);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_ARGUMENT", "userdata"));
    let bad_request = status.get_details_bad_request().unwrap();
    bad_request.field_violations.into_iter().map(|violation| violation.field).collect()
}

fn asking(user: &str) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() }
}

fn seconds(seconds: i64, nanos: i32) -> Option<proto::Duration> {
    Some(proto::Duration { seconds, nanos })
}

fn nested(levels: usize) -> Struct {
    let inner = Struct::default();
    (1..levels).fold(inner, |inner, _| Struct { fields: [("k".to_owned(), Kind::StructValue(inner).into())].into() })
}

fn entries(values: impl IntoIterator<Item = Kind>) -> Option<Struct> {
    Some(Struct { fields: values.into_iter().enumerate().map(|(n, kind)| (n.to_string(), kind.into())).collect() })
}

#[test]
fn a_get_becomes_a_query_a_wish_and_a_selection() {
    let request = GetComprehensiveUserDataRequest {
        user_id: "42".into(),
        strategy_id: Some(7),
        force_refresh: true,
        parameters: None,
        sections: vec![Section::Derived as i32, Section::Onboarding as i32, Section::Derived as i32],
        min_token: "inc-1:12".into(),
        freshness: v1::Freshness::Linearizable.into(),
        max_age: seconds(60, 5),
    };
    let parsed = get(&request).unwrap();
    let expected = UserDataQuery::new(UserId::parse("42").unwrap(), StrategyId::new(7), Parameters::none());
    assert_eq!(parsed.query, expected);
    assert!(parsed.refresh);
    assert_eq!(parsed.options.sections.iter().collect::<Vec<_>>(), [Section::Onboarding, Section::Derived]);
    assert_eq!(
        parsed.options,
        ReadOptions {
            sections: parsed.options.sections,
            freshness: Freshness::Linearizable,
            min_token: Some(Token { epoch: "inc-1".into(), position: 12 }),
            max_age: Some(Duration::new(60, 5)),
        }
    );
}

#[test]
fn a_plain_get_asks_for_everything_and_absent_is_not_zero() {
    let parsed = get(&asking("1")).unwrap();
    assert_eq!(parsed.options.sections, SectionSet::ALL);
    assert_eq!(parsed.options.sections.iter().count(), SECTIONS.len());
    assert_eq!((parsed.query.strategy, parsed.options, parsed.refresh), (None, ReadOptions::default(), false));
}

#[test]
fn what_is_just_legal_is_accepted() {
    for request in [
        asking(&"x".repeat(255)),
        asking("ü"),
        GetComprehensiveUserDataRequest { strategy_id: Some(1), ..asking("1") },
        GetComprehensiveUserDataRequest { max_age: seconds(0, 0), ..asking("1") },
        GetComprehensiveUserDataRequest { max_age: seconds(24 * 3600, 0), ..asking("1") },
        GetComprehensiveUserDataRequest { parameters: Some(nested(32)), ..asking("1") },
        GetComprehensiveUserDataRequest { parameters: entries(vec![Kind::NullValue(0); 32]), ..asking("1") },
    ] {
        assert!(get(&request).is_ok(), "{request:?}");
    }
}

#[test]
fn each_bad_field_of_a_get_is_named() {
    let many = entries(vec![Kind::NumberValue(1.0); 33]);
    let large = entries([Kind::StringValue("x".repeat(4096))]);
    for (field, request) in [
        ("user_id", asking("")),
        ("user_id", asking(&"x".repeat(256))),
        ("user_id", asking("a\u{7f}")),
        ("user_id", asking("a\nb")),
        ("strategy_id", GetComprehensiveUserDataRequest { strategy_id: Some(0), ..asking("1") }),
        ("strategy_id", GetComprehensiveUserDataRequest { strategy_id: Some(-1), ..asking("1") }),
        ("parameters", GetComprehensiveUserDataRequest { parameters: many, ..asking("1") }),
        ("parameters", GetComprehensiveUserDataRequest { parameters: large, ..asking("1") }),
        ("parameters", GetComprehensiveUserDataRequest { parameters: Some(nested(33)), ..asking("1") }),
        (
            "parameters",
            GetComprehensiveUserDataRequest { parameters: entries([Kind::NumberValue(f64::NAN)]), ..asking("1") },
        ),
        (
            "parameters",
            GetComprehensiveUserDataRequest { parameters: entries([Kind::NumberValue(f64::INFINITY)]), ..asking("1") },
        ),
        ("sections[1]", GetComprehensiveUserDataRequest { sections: vec![1, 99], ..asking("1") }),
        ("sections[0]", GetComprehensiveUserDataRequest { sections: vec![0], ..asking("1") }),
        ("min_token", GetComprehensiveUserDataRequest { min_token: "12".into(), ..asking("1") }),
        ("min_token", GetComprehensiveUserDataRequest { min_token: "inc:-1".into(), ..asking("1") }),
        ("freshness", GetComprehensiveUserDataRequest { freshness: 9, ..asking("1") }),
        ("max_age", GetComprehensiveUserDataRequest { max_age: seconds(-1, 0), ..asking("1") }),
        ("max_age", GetComprehensiveUserDataRequest { max_age: seconds(0, -1), ..asking("1") }),
        ("max_age", GetComprehensiveUserDataRequest { max_age: seconds(1, 1_000_000_000), ..asking("1") }),
        ("max_age", GetComprehensiveUserDataRequest { max_age: seconds(24 * 3600, 1), ..asking("1") }),
    ] {
        assert_eq!(fields(get(&request)), [field], "{request:?}");
    }
}

#[test]
fn all_that_is_wrong_is_reported_together_and_nothing_is_quoted() {
    let request = GetComprehensiveUserDataRequest {
        user_id: "secret\u{0}".into(),
        strategy_id: Some(-77),
        force_refresh: false,
        parameters: entries(vec![Kind::NumberValue(f64::NAN); 33]),
        sections: vec![99],
        min_token: "secret token".into(),
        freshness: 9,
        max_age: seconds(-1, 0),
    };
    let status = status::of(&get(&request).unwrap_err(), &RequestId::create());
    for quoted in ["secret", "77", "99"] {
        assert!(!status.message().contains(quoted), "{}", status.message());
    }
    assert_eq!(
        fields(get(&request)),
        ["user_id", "strategy_id", "parameters", "parameters", "sections[0]", "freshness", "min_token", "max_age"]
    );
}

#[test]
fn a_refusal_fits_into_the_headers_that_clients_accept() {
    let request = GetComprehensiveUserDataRequest { sections: vec![99; 10_000], ..asking("1") };
    let status = status::of(&get(&request).unwrap_err(), &RequestId::create());
    let headers = status.into_http::<()>().into_parts().0.headers;
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(bytes < 8 * 1024, "{bytes}");
}

#[test]
fn an_invalidation_is_parsed_or_each_bad_field_named() {
    let request = InvalidateCacheRequest {
        user_id: "1".into(),
        strategy_id: Some(3),
        wait: Wait::All.into(),
        reason: "edited".into(),
        purge: true,
    };
    let parsed = invalidate(request.clone()).unwrap();
    let user = UserId::parse("1").unwrap();
    assert_eq!(parsed.scope, Scope { user, strategy: StrategyId::new(3), sections: SectionSet::ALL });
    assert_eq!(parsed.how, InvalidateOptions { wait_all: true, purge: true });
    assert_eq!(parsed.reason, "edited");
    assert!(!invalidate(InvalidateCacheRequest { wait: 0, ..request.clone() }).unwrap().how.wait_all);

    for (field, request) in [
        ("user_id", InvalidateCacheRequest { user_id: String::new(), ..request.clone() }),
        ("strategy_id", InvalidateCacheRequest { strategy_id: Some(0), ..request.clone() }),
        ("wait", InvalidateCacheRequest { wait: 3, ..request.clone() }),
        ("reason", InvalidateCacheRequest { reason: "x".repeat(256), ..request.clone() }),
        ("reason", InvalidateCacheRequest { reason: "a\nb".into(), ..request.clone() }),
    ] {
        assert_eq!(fields(invalidate(request)), [field]);
    }
    for (hidden, named) in
        [("\u{7}", "U+0007"), ("\u{202e}", "U+202E"), ("\u{2028}", "U+2028"), ("\u{e0041}", "U+E0041")]
    {
        let refused =
            invalidate(InvalidateCacheRequest { reason: format!("a{hidden}b"), ..request.clone() }).unwrap_err();
        let expected = Refusal::invalid("reason", &format!("must be printable, and {named} is not"));
        assert_eq!(format!("{refused:?}"), format!("{expected:?}"));
    }
}

#[test]
fn numbers_are_within_their_limits() {
    for (asked, limit) in [(0, 5), (1, 1), (100, 100)] {
        assert_eq!(
            stats(&GetCacheStatsRequest { most_accessed_limit: asked, instance_only: false }).unwrap(),
            Some(limit)
        );
    }
    for asked in [-1, 101] {
        assert_eq!(
            fields(stats(&GetCacheStatsRequest { most_accessed_limit: asked, instance_only: true })),
            ["most_accessed_limit"]
        );
    }
    for (asked, limit) in [(0, None), (1, Some(1)), (1_000_000, Some(1_000_000))] {
        assert_eq!(cleanup(&CleanupCacheRequest { limit: asked }).unwrap(), limit);
    }
    for asked in [-1, 1_000_001] {
        assert_eq!(fields(cleanup(&CleanupCacheRequest { limit: asked })), ["limit"]);
    }
}

fn item(user: &str, strategy_id: Option<i64>) -> WarmItem {
    WarmItem { user_id: user.to_owned(), strategy_id }
}

fn warming(items: Vec<WarmItem>, most_accessed: i32, concurrency: i32) -> WarmCacheRequest {
    WarmCacheRequest { items, most_accessed, concurrency }
}

#[test]
fn warming_merges_duplicates_and_keeps_the_order() {
    let items = vec![item("2", None), item("1", Some(1)), item("2", None), item("1", None), item("1", Some(1))];
    let parsed = warm(&warming(items, 0, 0)).unwrap();
    let WarmWhat::Documents(documents) = parsed.what else { panic!("documents were named") };
    let named: Vec<_> = documents.iter().map(|q| (q.user.as_str(), q.strategy.map(StrategyId::get))).collect();
    assert_eq!(named, [("2", None), ("1", Some(1)), ("1", None)]);
    assert_eq!(parsed.concurrency, 4);
    let most_accessed = warm(&warming(Vec::new(), 1000, 16)).unwrap();
    assert_eq!(most_accessed, WarmRequest { what: WarmWhat::MostAccessed(1000), concurrency: 16 });
}

#[test]
fn each_bad_field_of_a_warming_is_named() {
    for (named, request) in [
        (vec!["items"], warming(Vec::new(), 0, 0)),
        (vec!["items"], warming(vec![item("1", None); 1001], 0, 0)),
        (vec!["most_accessed"], warming(vec![item("1", None)], 1, 0)),
        (vec!["most_accessed"], warming(vec![item("1", None)], -1, 0)),
        (vec!["most_accessed"], warming(Vec::new(), -1, 0)),
        (vec!["most_accessed"], warming(Vec::new(), 1001, 0)),
        (vec!["concurrency", "items"], warming(Vec::new(), 0, 17)),
        (vec!["concurrency"], warming(vec![item("1", None)], 0, -1)),
        (
            vec!["items[1].user_id", "items[2].strategy_id"],
            warming(vec![item("1", None), item("", None), item("1", Some(0))], 0, 0),
        ),
    ] {
        assert_eq!(fields(warm(&request)), named);
    }
}

#[test]
fn any_message_is_a_valid_question_or_refused_without_being_quoted() {
    let parameters = Struct {
        fields: BTreeMap::from([
            ("scope".to_owned(), Kind::StringValue("all".to_owned()).into()),
            ("limits".to_owned(), Kind::ListValue(ListValue { values: vec![Kind::NumberValue(1.5).into()] }).into()),
        ]),
    };
    let get = GetComprehensiveUserDataRequest {
        user_id: "marker-user".to_owned(),
        strategy_id: Some(7),
        parameters: Some(parameters),
        sections: vec![1, 2, 7],
        freshness: 1,
        min_token: "8ed2dc9e-2957-4d77-b446-f69ea95410c1:17".to_owned(),
        max_age: Some(proto::Duration { seconds: 60, nanos: 5 }),
        ..Default::default()
    };
    let item = WarmItem { user_id: "marker-item".to_owned(), strategy_id: Some(3) };
    let warm = WarmCacheRequest { items: vec![item.clone(), item], concurrency: 4, ..Default::default() };
    let invalidation =
        InvalidateCacheRequest { user_id: "marker-user".to_owned(), reason: "why".to_owned(), ..Default::default() };
    let valid = [get.encode_to_vec(), warm.encode_to_vec(), invalidation.encode_to_vec()];
    let (mut read, mut refused) = (0, 0);
    let mut count = |asked: Result<(), Refusal>| match asked {
        Ok(()) => read += 1,
        Err(refusal) => {
            refused += 1;
            assert!(!format!("{refusal:?}").contains("marker"), "{refusal:?}");
        }
    };
    // A value of two bytes takes some 90, an empty item 40; each violation is said twice, with its index.
    withstands_mutated(
        &valid,
        |length| 512 * length + 64 * 1024,
        |bytes| {
            let bytes = &bytes[..];
            if let Ok(request) = GetComprehensiveUserDataRequest::decode(bytes) {
                count(super::get(&request).map(|asked| {
                    assert!((1..=255).contains(&asked.query.user.as_str().len()));
                    assert!(asked.options.max_age.is_none_or(|age| age <= MAX_AGE_MAX));
                }));
            }
            if let Ok(request) = WarmCacheRequest::decode(bytes) {
                count(super::warm(&request).map(|asked| assert!((1..=16).contains(&asked.concurrency))));
            }
            if let Ok(request) = InvalidateCacheRequest::decode(bytes) {
                count(super::invalidate(request).map(|asked| assert!(asked.reason.len() <= REASON_BYTES_MAX)));
            }
        },
    );
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the inputs are not nearly right");
}
