//! Fields that break the contract: INVALID_ARGUMENT, each named, none quoted.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use userdata::proto::{
    Duration, Kind as ValueKind, ListValue, Struct, Value,
    v1::{
        CleanupCacheRequest, GetCacheStatsRequest, GetComprehensiveUserDataRequest, InvalidateCacheRequest, Section,
        WarmCacheRequest, WarmItem,
    },
};

use super::{asking, assert_refused, fields};
use testkit::{
    database::Kind,
    demo::serve_demo,
    server::{Client, Server},
};

/// Must never come back in an error.
const MARKER: &str = "marker-7f3a";

fn entries(values: impl IntoIterator<Item = (String, Value)>) -> Struct {
    Struct { fields: BTreeMap::from_iter(values) }
}

fn one(value: impl Into<Value>) -> Struct {
    entries([("k".to_owned(), value.into())])
}

fn text(length: usize) -> Value {
    ValueKind::StringValue(MARKER.repeat(length / MARKER.len() + 1)[..length].to_owned()).into()
}

/// Objects in objects, the outermost being the first level.
fn nested_objects(levels: usize) -> Struct {
    (1..levels).fold(Struct::default(), |inner, _| one(ValueKind::StructValue(inner)))
}

/// An object that holds lists in lists.
fn nested_lists(levels: usize) -> Struct {
    let list = |values| ValueKind::ListValue(ListValue { values });
    let innermost: Value = list(Vec::new()).into();
    one((2..levels).fold(innermost, |inner, _| list(vec![inner]).into()))
}

fn with_parameters(parameters: Struct) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { parameters: Some(parameters), ..asking("1") }
}

fn with_max_age(seconds: i64, nanos: i32) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { max_age: Some(Duration { seconds, nanos }), ..asking("1") }
}

async fn client() -> (impl Sized, Server, Client) {
    let (database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let client = server.client().await;
    (database, server, client)
}

#[track_caller]
fn assert_fields(case: &str, answer: Result<impl Sized, Status>, expected: &[&str]) {
    let Err(status) = answer else { panic!("{case}: answered") };
    assert_refused(&status, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(fields(&status), expected, "{case}");
    assert!(!format!("{status:?}").contains(MARKER), "{case}: quoted: {status:?}");
}

#[tokio::test]
async fn every_wrong_field_of_a_get_is_named_and_none_is_quoted() {
    let (_database, _server, mut client) = client().await;
    let number = |number| one(ValueKind::NumberValue(number));
    let many = |count: usize| entries((0..count).map(|n| (format!("k{n}"), ValueKind::BoolValue(true).into())));
    let sections = |sections: &[i32]| GetComprehensiveUserDataRequest { sections: sections.to_vec(), ..asking("1") };
    let strategy = |id| GetComprehensiveUserDataRequest { strategy_id: Some(id), ..asking("1") };
    let token = |token: &str| GetComprehensiveUserDataRequest { min_token: token.to_owned(), ..asking("1") };
    let wrong_three_times = GetComprehensiveUserDataRequest {
        user_id: format!("{MARKER}\n"),
        strategy_id: Some(-7),
        min_token: MARKER.to_owned(),
        ..Default::default()
    };
    let many_not_numbers = entries((0..33).map(|n| (format!("k{n}"), ValueKind::NumberValue(f64::NAN).into())));
    let cases = [
        ("no user", asking(""), &["user_id"][..]),
        ("256 bytes of user", asking(&"u".repeat(256)), &["user_id"]),
        ("128 letters of two bytes each", asking(&"\u{e9}".repeat(128)), &["user_id"]),
        ("a line break in the user", asking(&format!("{MARKER}\n")), &["user_id"]),
        ("DEL in the user", asking(&format!("{MARKER}\u{7f}")), &["user_id"]),
        ("C1 control in the user", asking(&format!("{MARKER}\u{85}")), &["user_id"]),
        ("strategy 0", strategy(0), &["strategy_id"]),
        ("strategy -1", strategy(-1), &["strategy_id"]),
        ("33 parameters", with_parameters(many(33)), &["parameters"]),
        ("more than 4 KiB of parameters", with_parameters(one(text(4096))), &["parameters"]),
        ("33 levels of objects", with_parameters(nested_objects(33)), &["parameters"]),
        ("33 levels of lists", with_parameters(nested_lists(33)), &["parameters"]),
        // More than the decoder would follow.
        ("60 levels of objects", with_parameters(nested_objects(60)), &["parameters"]),
        ("60 levels of lists", with_parameters(nested_lists(60)), &["parameters"]),
        ("1,000 levels of lists", with_parameters(nested_lists(1000)), &["parameters"]),
        ("NaN", with_parameters(number(f64::NAN)), &["parameters"]),
        ("infinity", with_parameters(number(f64::INFINITY)), &["parameters"]),
        ("minus infinity", with_parameters(number(f64::NEG_INFINITY)), &["parameters"]),
        ("33 parameters, and NaN", with_parameters(many_not_numbers), &["parameters", "parameters"]),
        ("an unknown section", sections(&[1, 99]), &["sections[1]"]),
        ("section 0", sections(&[0]), &["sections[0]"]),
        ("a text that is no token", token(MARKER), &["min_token"]),
        ("a token without position", token("8ed2dc9e-2957-4d77-b446-f69ea95410c1:"), &["min_token"]),
        ("a token of too many digits", token("8ed2dc9e:99999999999999999999"), &["min_token"]),
        ("unknown freshness", GetComprehensiveUserDataRequest { freshness: 99, ..asking("1") }, &["freshness"]),
        ("negative max_age", with_max_age(-1, 0), &["max_age"]),
        ("max_age negative by a nanosecond", with_max_age(0, -1), &["max_age"]),
        ("max_age over 24 h", with_max_age(24 * 3600, 1), &["max_age"]),
        ("three at once", wrong_three_times, &["user_id", "strategy_id", "min_token"]),
    ];
    for (case, request, expected) in cases {
        assert_fields(case, client.get_comprehensive_user_data(request).await, expected);
    }
}

#[tokio::test]
async fn the_largest_that_is_allowed_is_answered() {
    let (_database, _server, mut client) = client().await;
    // `{"k": "..."}` around the text.
    let parameters = [one(text(4096 - 9)), nested_objects(32), nested_lists(32)];
    let mut requests: Vec<_> = parameters.into_iter().map(with_parameters).collect();
    requests.push(with_max_age(24 * 3600, 0));
    requests.push(GetComprehensiveUserDataRequest { strategy_id: Some(12), ..asking("1") });
    for (case, request) in requests.into_iter().enumerate() {
        client.get_comprehensive_user_data(request).await.unwrap_or_else(|status| panic!("case {case}: {status:?}"));
    }
    // 255 bytes name an unknown user; they are not an error.
    let status = client.get_comprehensive_user_data(asking(&"u".repeat(255))).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn a_section_asked_for_twice_is_given_once() {
    let (_database, _server, mut client) = client().await;
    let section = i32::from(Section::Strategy);
    let request = GetComprehensiveUserDataRequest { sections: vec![section, section], ..asking("1") };
    let reply = client.get_comprehensive_user_data(request).await.unwrap().into_inner();
    assert_eq!(reply.sections.iter().map(|report| report.section).collect::<Vec<_>>(), [section]);
}

#[tokio::test]
async fn every_wrong_field_of_an_invalidation_is_named() {
    let (_database, _server, mut client) = client().await;
    let of = |user: &str| InvalidateCacheRequest { user_id: user.to_owned(), ..Default::default() };
    let cases = [
        ("no user", of(""), &["user_id"][..]),
        ("a control character", of("a\u{0}"), &["user_id"]),
        ("strategy 0", InvalidateCacheRequest { strategy_id: Some(0), ..of("1") }, &["strategy_id"]),
        ("unknown wait", InvalidateCacheRequest { wait: 9, ..of("1") }, &["wait"]),
        ("a long reason", InvalidateCacheRequest { reason: "r".repeat(256), ..of("1") }, &["reason"]),
        ("a reason of two lines", InvalidateCacheRequest { reason: format!("{MARKER}\n"), ..of("1") }, &["reason"]),
        ("a reordered reason", InvalidateCacheRequest { reason: format!("{MARKER}\u{202e}"), ..of("1") }, &["reason"]),
        ("another line", InvalidateCacheRequest { reason: format!("{MARKER}\u{2028}"), ..of("1") }, &["reason"]),
    ];
    for (case, request, expected) in cases {
        assert_fields(case, client.invalidate_cache(request).await, expected);
    }
    let done = client.invalidate_cache(of("nobody")).await.unwrap().into_inner();
    assert_eq!(done.removed_entries, 0, "nothing cached is no error");
    assert!(done.token.ends_with(":1"), "the refused ones left no invalidation: {}", done.token);
}

#[tokio::test]
async fn limits_outside_their_range_are_named() {
    let (_database, _server, mut client) = client().await;
    for limit in [-1, 101, i32::MIN, i32::MAX] {
        let request = GetCacheStatsRequest { most_accessed_limit: limit, instance_only: false };
        assert_fields("stats", client.get_cache_stats(request).await, &["most_accessed_limit"]);
    }
    for limit in [-1, 1_000_001] {
        assert_fields("cleanup", client.cleanup_cache(CleanupCacheRequest { limit }).await, &["limit"]);
    }
    client.get_cache_stats(GetCacheStatsRequest { most_accessed_limit: 100, instance_only: false }).await.unwrap();
    client.cleanup_cache(CleanupCacheRequest { limit: 1_000_000 }).await.unwrap();
}

#[tokio::test]
async fn every_wrong_field_of_a_warming_is_named_and_duplicates_are_merged() {
    let (_database, _server, mut client) = client().await;
    let item = |user: &str| WarmItem { user_id: user.to_owned(), strategy_id: None };
    let of = |items: Vec<WarmItem>| WarmCacheRequest { items, ..Default::default() };
    let most_accessed = |most_accessed| WarmCacheRequest { most_accessed, ..Default::default() };
    let bad = vec![item("1"), WarmItem { user_id: "1".to_owned(), strategy_id: Some(0) }, item("")];
    let cases = [
        ("no items", of(Vec::new()), &["items"][..]),
        ("1001 items", of((0..1001).map(|n| item(&n.to_string())).collect()), &["items"]),
        ("both kinds", WarmCacheRequest { most_accessed: 1, ..of(vec![item("1")]) }, &["most_accessed"]),
        ("a negative number", most_accessed(-1), &["most_accessed"]),
        ("1001 most accessed", most_accessed(1001), &["most_accessed"]),
        ("17 at once", WarmCacheRequest { concurrency: 17, ..of(vec![item("1")]) }, &["concurrency"]),
        ("bad items", of(bad), &["items[1].strategy_id", "items[2].user_id"]),
    ];
    for (case, request, expected) in cases {
        assert_fields(case, client.warm_cache(request).await, expected);
    }

    let twice = vec![item("1"), item("2"), item("1"), WarmItem { user_id: "2".to_owned(), strategy_id: None }];
    let mut stream = client.warm_cache(of(twice)).await.unwrap().into_inner();
    let mut finished = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert_eq!(message.total, 2);
        finished.push(message.item.unwrap().user_id);
    }
    finished.sort_unstable();
    assert_eq!(finished, ["1", "2"]);
}
