//! The planning application's routes: bodies, errors and tokens as its callers read them, on both databases.

use serde_json::{Value as Json, json};
use testkit::{
    ask::of,
    assembly::DEMO_USERS,
    database::{BOTH, demo_database},
    http::{HttpRequest, HttpResponse},
    server::{Server, Settings, serve},
};
use userdata::planning_json::{CallerGeneration, planning_json};

use super::{demo, send};
use crate::planning_json::steps_can_read;

const CALENDAR: &str = "/api/content-planning/calendar-generation";
const MONITORING: &str = "/api/content-planning/monitoring/cache-stats";

async fn get(server: &Server, path: &str) -> HttpResponse {
    send(server, HttpRequest::get(&format!("{CALENDAR}{path}"))).await
}

async fn document(server: &Server, query: &str) -> Json {
    let response = get(server, &format!("/comprehensive-user-data?{query}")).await;
    assert_eq!(response.status, 200, "{query}: {}", String::from_utf8_lossy(&response.body));
    response.json()
}

/// The description of the routes, as the server gives it.
async fn openapi(server: &Server) -> Json {
    send(server, HttpRequest::get("/openapi.json")).await.json()
}

/// Says where a reply differs from a schema of the description. Properties that the schema does not name are none.
fn differs(api: &Json, schema: &Json, value: &Json, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return differs(api, api.pointer(&name[1..]).expect("a schema"), value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let found = any.iter().map(|schema| differs(api, schema, value, at)).min_by_key(Vec::len);
        return found.unwrap_or_default();
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return vec![format!("{at}: {value} is not {}", schema["const"])];
    }
    let types: Vec<_> = match &schema["type"] {
        Json::Array(types) => types.iter().filter_map(Json::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    if !types.is_empty() && !types.iter().any(|kind| is(kind)) {
        return vec![format!("{at}: {value} is no {types:?}")];
    }
    let mut found = Vec::new();
    if let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
        found.extend(required.filter(|name| !object.contains_key(*name)).map(|name| format!("{at}: no {name}")));
        for (name, value) in object {
            match properties.get(name) {
                Some(schema) => found.extend(differs(api, schema, value, &format!("{at}.{name}"))),
                None => found.push(format!("{at}.{name} is not described")),
            }
        }
    }
    for value in value.as_array().into_iter().flatten() {
        found.extend(differs(api, &schema["items"], value, &format!("{at}[]")));
    }
    found
}

fn assert_described(api: &Json, method: &str, path: &str, response: &HttpResponse) {
    let operation = &api["paths"][path][method]["responses"][response.status.to_string()];
    let operation = match operation["$ref"].as_str() {
        Some(name) => api.pointer(&name[1..]).expect("a response"),
        None => operation,
    };
    let schema = &operation["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} {} is not described", response.status);
    assert_eq!(differs(api, schema, &response.json(), "body"), [""; 0], "{method} {path} {}", response.status);
}

#[tokio::test]
async fn every_demo_users_document_has_the_shape_that_the_applications_steps_read() {
    for kind in BOTH {
        let place = demo_database(kind).await;
        for (compat, callers) in [("new", CallerGeneration::Newest), ("aug22", CallerGeneration::Aug22)] {
            let settings = Settings::on(&place.url).with("http.listen", "127.0.0.1:0").with("http.compat", compat);
            let server = serve(settings).await;
            let (api, mut client) = (openapi(&server).await, server.client().await);
            let named = |user: &&&str| compat == "new" || user.parse::<i32>().is_ok();
            for user in DEMO_USERS.iter().filter(named) {
                let mut escaped = String::new();
                for byte in user.bytes() {
                    escaped += &format!("%{byte:02X}");
                }
                let response = get(&server, &format!("/comprehensive-user-data?user_id={escaped}")).await;
                assert_eq!(response.status, 200, "{user}: {}", String::from_utf8_lossy(&response.body));
                assert_described(&api, "get", &format!("{CALENDAR}/comprehensive-user-data"), &response);
                let body = response.json();
                let by_grpc = client.get_comprehensive_user_data(of(user)).await.unwrap().into_inner().data.unwrap();
                assert_eq!(body["data"], planning_json(&by_grpc, callers).unwrap(), "{user}, {compat}, {kind:?}");
                steps_can_read(&by_grpc, &body["data"]).unwrap_or_else(|what| panic!("{user}: {what}"));
            }
        }
    }
}

#[tokio::test]
async fn the_envelopes_are_the_applications_own() {
    let (_place, server) = demo(|settings| settings).await;
    let api = openapi(&server).await;
    let first = document(&server, "user_id=1").await;
    let mut second = document(&server, "user_id=1").await;
    assert_eq!(second["data"], first["data"]);
    let timestamp = second["cache_info"]["timestamp"].take();
    let timestamp = timestamp.as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.len() == "2025-08-22T10:00:00.123456Z".len(), "{timestamp}");
    second.as_object_mut().unwrap().remove("data");
    assert_eq!(
        second,
        json!({
            "status": "success",
            "cache_info": { "is_cached": true, "force_refresh": false, "timestamp": null },
            "message": "Comprehensive user data retrieved successfully (cache: HIT)",
        })
    );
    let refreshed = document(&server, "user_id=1&force_refresh=true").await;
    assert_eq!(refreshed["cache_info"]["is_cached"], false);
    assert_eq!(refreshed["cache_info"]["force_refresh"], true);
    assert_eq!(refreshed["message"], "Comprehensive user data retrieved successfully (cache: MISS)");

    let stats = get(&server, "/cache/stats").await;
    assert_described(&api, "get", &format!("{CALENDAR}/cache/stats"), &stats);
    let monitoring = send(&server, HttpRequest::get(MONITORING)).await;
    assert_described(&api, "get", MONITORING, &monitoring);
    let figures = &monitoring.json()["data"];
    assert_eq!((&figures["hits"], &figures["misses"], &figures["total_requests"]), (&json!(1), &json!(2), &json!(3)));

    let delete = |path: &str| HttpRequest::new("DELETE", &format!("{CALENDAR}/cache/invalidate/{path}"));
    let invalidated = send(&server, delete("1?strategy_id=7")).await;
    assert_described(&api, "delete", &format!("{CALENDAR}/cache/invalidate/{{user_id}}"), &invalidated);
    assert_eq!(
        invalidated.json(),
        json!({
            "status": "success",
            "message": "Cache invalidated for user 1 and strategy 7",
            "user_id": "1",
            "strategy_id": 7,
        })
    );
    let whole = send(&server, delete("user%5F1")).await.json();
    assert_eq!(whole["message"], "Cache invalidated for user user_1");
    assert_eq!((&whole["user_id"], &whole["strategy_id"]), (&json!("user_1"), &Json::Null));

    let cleanup = send(&server, HttpRequest::new("POST", &format!("{CALENDAR}/cache/cleanup"))).await;
    assert_described(&api, "post", &format!("{CALENDAR}/cache/cleanup"), &cleanup);
    assert_eq!(cleanup.json()["message"], "Cleaned up 0 expired cache entries");
}

#[tokio::test]
async fn callers_of_august_2025_get_numbers_for_numbers() {
    let (_place, server) = demo(|settings| settings.with("http.compat", "aug22")).await;
    assert_eq!(document(&server, "user_id=1").await["data"]["user_id"], 1);
    let refused = get(&server, "/comprehensive-user-data?user_id=demo_anna").await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["detail"][0]["type"], "int_parsing");
    let path = format!("{CALENDAR}/cache/invalidate/1");
    assert_eq!(send(&server, HttpRequest::new("DELETE", &path)).await.json()["user_id"], 1);
}

#[tokio::test]
async fn a_caller_reads_its_own_write() {
    let (_place, server) = demo(|settings| settings).await;
    document(&server, "user_id=1").await;
    let delete = HttpRequest::new("DELETE", &format!("{CALENDAR}/cache/invalidate/1"));
    let token = send(&server, delete).await.header("x-userdata-token").unwrap().to_owned();
    let target = format!("{CALENDAR}/comprehensive-user-data?user_id=1");
    let read = send(&server, HttpRequest::get(&target).header("x-userdata-token", &token)).await;
    assert_eq!(read.json()["cache_info"]["is_cached"], false);
    assert!(read.header("x-userdata-token").is_some());

    let tag = read.header("etag").unwrap().to_owned();
    let same = send(&server, HttpRequest::get(&target).header("if-none-match", &tag)).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
}

#[tokio::test]
async fn errors_have_the_applications_form() {
    let (_place, server) = demo(|settings| settings).await;
    let api = openapi(&server).await;
    let path = format!("{CALENDAR}/comprehensive-user-data");
    for (query, status) in [
        ("user_id=nobody", 404),
        ("", 422),
        ("user_id=", 422),
        ("user_id=1&strategy_id=many", 422),
        ("user_id=1&force_refresh=perhaps", 422),
        ("user_id=%00", 422),
    ] {
        let response = get(&server, &format!("/comprehensive-user-data?{query}")).await;
        assert_eq!(response.status, status, "{query}: {}", String::from_utf8_lossy(&response.body));
        assert_described(&api, "get", &path, &response);
    }
    let missing = get(&server, "/comprehensive-user-data").await.json();
    assert_eq!(
        missing,
        json!({ "detail": [{ "type": "missing", "loc": ["query", "user_id"], "msg": "Field required" }] })
    );
    let unknown = get(&server, "/comprehensive-user-data?user_id=nobody").await;
    assert_eq!(unknown.json(), json!({ "detail": "user not found" }));
    assert_eq!(unknown.header("x-error-reason"), Some("USER_NOT_FOUND"));
    assert_eq!(get(&server, "/nothing").await.status, 404);
    for (request, place) in [
        (HttpRequest::new("DELETE", &format!("{CALENDAR}/cache/invalidate/x%00")), json!(["path", "user_id"])),
        (HttpRequest::new("DELETE", &format!("{CALENDAR}/cache/invalidate/%FF")), json!(["path", "user_id"])),
        (
            HttpRequest::get(&format!("{path}?user_id=1")).header("x-userdata-token", "bad"),
            json!(["header", "x-userdata-token"]),
        ),
    ] {
        let refused = send(&server, request).await;
        assert_eq!((refused.status, &refused.json()["detail"][0]["loc"]), (422, &place));
    }
    let wrong_method = send(&server, HttpRequest::new("DELETE", &path)).await;
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("GET")));
}
