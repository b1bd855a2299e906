//! Connect's protocol: the same replies and errors as by gRPC.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use prost::Message as _;
use serde_json::{Value as Json, json};
use testkit::{ask::of, http::HttpRequest};
use userdata::proto::v1::{
    CacheStatus, GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse, InvalidateCacheRequest,
};

use super::{call, demo, send};

const GET: &str = "/userdata.v1.UserDataService/GetComprehensiveUserData";

#[tokio::test]
async fn a_document_is_the_same_by_grpc_and_by_connect_in_both_codecs() {
    let (_place, server) = demo(|settings| settings).await;
    let by_grpc = server.client().await.get_comprehensive_user_data(of("1")).await.unwrap().into_inner();

    let json = call(&server, "GetComprehensiveUserData", json!({ "user_id": "1" })).await;
    assert_eq!(json["data"], serde_json::to_value(by_grpc.data.as_ref().unwrap()).unwrap());
    assert_eq!(json["cache_info"]["status"], "CACHE_STATUS_HIT_MEMORY");
    assert_eq!(json["sections"].as_array().unwrap().len(), 7);
    let nulls = json!({ "userId": "1", "force_refresh": null, "sections": null });
    assert_eq!(call(&server, "GetComprehensiveUserData", nulls).await["data"], json["data"]);

    let request = HttpRequest::new("POST", GET).body("application/proto", of("1").encode_to_vec());
    let response = send(&server, request.header("x-request-id", "mine")).await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/proto")));
    assert_eq!(response.header("x-request-id"), Some("mine"));
    assert!(response.header("x-cache").unwrap().starts_with("HIT; tier=memory"));
    let reply = GetComprehensiveUserDataResponse::decode(&*response.body).unwrap();
    assert_eq!(reply.data, by_grpc.data);
    assert_eq!(reply.cache_info.unwrap().status(), CacheStatus::HitMemory);
}

#[tokio::test]
async fn fields_of_sections_that_were_not_asked_for_are_left_out() {
    let (_place, server) = demo(|settings| settings).await;
    let message = json!({ "user_id": "1", "sections": ["SECTION_STRATEGY", "SECTION_DERIVED"] });
    for _ in 0..2 {
        let json = call(&server, "GetComprehensiveUserData", message.clone()).await;
        let fields: Vec<_> = json["data"].as_object().unwrap().keys().map(String::as_str).collect();
        let strategy = ["strategy_data", "strategy_analysis", "quality_indicators"];
        let derived = ["user_id", "industry", "target_audience", "business_goals", "platform_preferences"];
        let mut expected: Vec<_> = derived.into_iter().chain(strategy).collect();
        expected.sort_unstable();
        assert_eq!(fields, expected);
        assert_eq!(json["sections"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn every_rpc_is_served() {
    let (_place, server) = demo(|settings| settings).await;
    let done = call(&server, "InvalidateCache", json!({ "user_id": "1", "reason": "a test" })).await;
    assert!(!done["token"].as_str().unwrap().is_empty());
    let read = call(&server, "GetComprehensiveUserData", json!({ "user_id": "1", "min_token": done["token"] })).await;
    assert_eq!(read["cache_info"]["status"], "CACHE_STATUS_ASSEMBLED");
    assert_eq!(call(&server, "GetCacheStats", json!({ "instance_only": true })).await["requests"], "1");
    assert_eq!(call(&server, "CleanupCache", json!({})).await["deleted_count"], "0");
}

/// The envelopes of a stream: flags and message.
fn envelopes(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        found.push((prefix[0], rest[..length].to_vec()));
        body = &rest[length..];
    }
    assert!(body.is_empty());
    found
}

fn enveloped(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[tokio::test]
async fn warm_cache_is_a_stream_that_says_its_end() {
    let (_place, server) = demo(|settings| settings).await;
    let target = "/userdata.v1.UserDataService/WarmCache";
    let stream = async |message: Json| {
        let body = enveloped(message.to_string().as_bytes());
        let response = send(&server, HttpRequest::new("POST", target).body("application/connect+json", body)).await;
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/connect+json")));
        envelopes(&response.body)
    };

    let warmed = stream(json!({ "items": [{ "user_id": "1" }, { "user_id": "2" }] })).await;
    let (end, messages) = warmed.split_last().unwrap();
    assert_eq!(*end, (2, b"{}".to_vec()));
    assert!(messages.len() >= 2, "{messages:?}");
    let users: Vec<Json> = messages.iter().map(|(_, message)| serde_json::from_slice(message).unwrap()).collect();
    assert!(users.iter().all(Json::is_object), "{users:?}");

    let refused = stream(json!({ "items": [], "concurrency": -1 })).await;
    let [(2, end)] = &refused[..] else { panic!("{refused:?}") };
    let end: Json = serde_json::from_slice(end).unwrap();
    assert_eq!(end["error"]["code"], "invalid_argument", "{end}");

    let partly = stream(json!({ "items": [{ "user_id": "1" }, { "user_id": "nobody" }] })).await;
    let failed = partly.iter().map(|(_, message)| serde_json::from_slice::<Json>(message).unwrap());
    let failed: Vec<_> = failed.filter(|message| message["error"].is_object()).collect();
    assert_eq!((failed.len(), &failed[0]["error"]["details"]), (1, &json!([])), "readers know no types of details");

    let envelope = enveloped(b"{}");
    let malformed = HttpRequest::new("POST", target).body("application/connect+json", envelope);
    let response = send(&server, malformed.header("connect-timeout-ms", "soon")).await;
    assert_eq!(response.status, 200, "a stream says every error at its end");
    let end: Json = serde_json::from_slice(&envelopes(&response.body)[0].1).unwrap();
    assert_eq!(end["error"]["code"], "invalid_argument");

    let plain = HttpRequest::new("POST", target).body("application/json", "{}");
    assert_eq!(send(&server, plain).await.status, 415);
}

#[tokio::test]
async fn errors_say_code_reason_and_details() {
    let (_place, server) = demo(|settings| settings).await;
    let response = send(&server, HttpRequest::call("GetComprehensiveUserData", &json!({ "user_id": "nobody" }))).await;
    assert_eq!(response.status, 404);
    assert_eq!(response.header("x-error-reason"), Some("USER_NOT_FOUND"));
    assert!(response.header("x-request-id").is_some());
    let error = response.json();
    assert_eq!(error["code"], "not_found");
    let details = error["details"].as_array().unwrap();
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo").unwrap();
    let value = BASE64_STANDARD_NO_PAD.decode(info["value"].as_str().unwrap()).unwrap();
    let info = tonic_types::pb::ErrorInfo::decode(&*value).unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("USER_NOT_FOUND", "userdata"));

    for (body, field) in [
        (json!({}).to_string(), "user_id"),
        (json!({ "user_id": "1", "sections": ["SECTION_UNSPECIFIED"] }).to_string(), "sections"),
        (json!({ "user_id": "1", "force_refresh": "perhaps" }).to_string(), "message"),
        ("{".to_owned(), "message"),
    ] {
        let response = send(&server, HttpRequest::new("POST", GET).body("application/json", body.clone())).await;
        assert_eq!((response.status, response.header("x-error-reason")), (400, Some("INVALID_ARGUMENT")), "{body}");
        let error = response.json();
        assert_eq!(error["code"], "invalid_argument");
        assert!(error["message"].as_str().unwrap().starts_with(field), "{error}");
        assert!(!error.to_string().contains("perhaps"), "an error quotes nothing: {error}");
    }
}

#[tokio::test]
async fn what_is_not_connect_is_refused_by_its_name() {
    let (_place, server) = demo(|settings| settings).await;
    let body = json!({ "user_id": "1" }).to_string();
    let post = |content_type: &str| HttpRequest::new("POST", GET).body(content_type, body.clone());
    let unsupported = send(&server, post("text/plain")).await;
    assert_eq!(unsupported.status, 415);
    assert_eq!(unsupported.header("accept-post"), Some("application/json, application/proto"));
    for (request, status, said) in [
        (post("application/json").header("connect-protocol-version", "2"), 400, "connect-protocol-version"),
        (post("application/json").header("connect-timeout-ms", "soon"), 400, "connect-timeout-ms"),
        (post("application/json").header("content-encoding", "br"), 501, "compression"),
        (post("application/json").header("content-encoding", "GZIP"), 400, "is not gzip"),
        (HttpRequest::new("POST", GET).body("application/json", vec![b' '; 1 << 20]), 400, "too large"),
        (HttpRequest::new("DELETE", GET), 405, "method"),
        (HttpRequest::new("POST", "/userdata.v1.UserDataService/Other"), 404, "no such path"),
        (HttpRequest::get(&format!("{GET}?encoding=xml")), 400, "encoding"),
        (HttpRequest::get(&format!("{GET}?encoding=json&base64=1&message=%25")), 400, "message"),
    ] {
        let response = send(&server, request.clone()).await;
        let text = String::from_utf8(response.body).unwrap();
        assert_eq!(response.status, status, "{request:?}: {text}");
        assert!(text.contains(said), "{request:?}: {text}");
    }
    let later = post("application/json").header("connect-timeout-ms", "0");
    assert_eq!(send(&server, later).await.status, 504);
}

#[tokio::test]
async fn a_compressed_message_is_read_within_its_limit() {
    use std::io::Write as _;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (_place, server) = demo(|settings| settings).await;
    let post =
        |body: Vec<u8>| HttpRequest::new("POST", GET).body("application/json", body).header("content-encoding", "gzip");
    let response = send(&server, post(gzip(json!({ "user_id": "1" }).to_string().as_bytes()))).await;
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    let bomb = send(&server, post(gzip(&vec![b' '; 10 << 20]))).await;
    assert_eq!((bomb.status, bomb.header("x-error-reason")), (400, Some("MESSAGE_TOO_LARGE")));
}

#[tokio::test]
async fn a_document_that_is_known_is_not_sent_again() {
    let (_place, server) = demo(|settings| settings).await;
    let target = format!("{GET}?connect=v1&encoding=json&message=%7B%22user_id%22%3A%221%22%7D");
    let first = send(&server, HttpRequest::get(&target)).await;
    assert_eq!((first.status, first.header("cache-control")), (200, Some("private, no-cache")));
    assert_eq!(first.json()["data"]["user_id"], "1");
    let tag = first.header("etag").unwrap().to_owned();

    for known in [tag.clone(), format!("\"other\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()] {
        let same = send(&server, HttpRequest::get(&target).header("if-none-match", &known)).await;
        assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(tag.as_str())), "{known}");
    }

    let proto = of("1").encode_to_vec();
    let encoded = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(proto);
    let target = format!("{GET}?connect=v1&encoding=proto&base64=1&message={encoded}");
    let by_proto = send(&server, HttpRequest::get(&target)).await;
    assert_eq!(by_proto.header("etag"), Some(tag.as_str()), "the same document");
    assert!(GetComprehensiveUserDataResponse::decode(&*by_proto.body).unwrap().data.is_some());

    let other = GetComprehensiveUserDataRequest { user_id: "2".into(), ..Default::default() }.encode_to_vec();
    let target = target.replace(
        &base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(of("1").encode_to_vec()),
        &base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(other),
    );
    assert_ne!(send(&server, HttpRequest::get(&target)).await.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn an_erased_users_document_is_not_kept_as_json() {
    let (_place, server) = demo(|settings| settings).await;
    let before = call(&server, "GetComprehensiveUserData", json!({ "user_id": "1" })).await;
    let purge = InvalidateCacheRequest { user_id: "1".into(), purge: true, ..Default::default() };
    server.client().await.invalidate_cache(purge).await.unwrap();
    let after = call(&server, "GetComprehensiveUserData", json!({ "user_id": "1" })).await;
    assert_eq!(after["cache_info"]["status"], "CACHE_STATUS_ASSEMBLED");
    assert_eq!(after["data"]["user_id"], before["data"]["user_id"]);
}
