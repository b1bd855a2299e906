//! The commands that call a server.

use serde_json::{Value as Json, json};

use super::{complaint, has_line};
use testkit::{
    RefusingPort,
    command::{Ran, userdata},
    database::Kind,
    demo::serve_demo,
    server::Server,
};

/// `userdata words.. --addr SERVER`.
async fn call(server: &Server, words: &str) -> Ran {
    let addr = format!("http://{}", server.address);
    let arguments: Vec<&str> = words.split(' ').chain(["--addr", &addr]).collect();
    userdata(&arguments).await
}

/// The one value that is printed, on one line.
async fn json_of(server: &Server, words: &str) -> Json {
    let output = call(server, &format!("{words} -o json")).await.output();
    assert_eq!(output.lines().count(), 1, "{words}");
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{words}: {error}: {output}"))
}

#[tokio::test]
async fn people_read_the_key_facts() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let cases: [(&str, &[&[&str]]); 11] = [
        ("get 1", &[&["status", "ASSEMBLED"], &["complete", "true"], &["verified", "true"], &["gap_analysis", "OK"]]),
        ("get 1", &[&["status", "HIT_MEMORY"], &["industry", "Technology"], &["onboarding_data", "KiB"]]),
        ("get 1 --refresh", &[&["status", "REFRESHED"]]),
        ("get 1 --strategy 12 --sections strategy", &[&["strategy_data"], &["strategy", "DATABASE"]]),
        (
            "stats",
            &[
                &["server", "0.1.0"],
                &["memory", "closed"],
                &["redis (off)"],
                &["onboarding"],
                &["invalidation log", "at 0"],
            ],
        ),
        ("invalidate 1", &[&["rows removed", "2"], &["token", ":1"]]),
        ("invalidate 1 --purge --wait all --reason test", &[&["rows removed", "2"], &["token", ":2"]]),
        ("warm 1 2", &[&["/2 1 ASSEMBLED"], &["/2 2 ASSEMBLED"], &["warmed 2 of 2"]]),
        ("warm --most-accessed 1", &[&["1/1", "HIT_MEMORY"], &["warmed 1 of 1"]]),
        ("cleanup", &[&["rows deleted", "0"]]),
        ("healthcheck", &[&["SERVING"]]),
    ];
    for (words, expected) in cases {
        let output = call(&server, words).await.output();
        // What comes next may tell how many there are.
        if words == "get 1 --strategy 12 --sections strategy" || words == "warm 1 2" {
            server.documents_stored(2).await;
        }
        for line in expected {
            assert!(has_line(&output, line), "{words}: no line with {line:?}:\n{output}");
        }
    }
}

#[tokio::test]
async fn programs_get_the_reply_as_proto3_json_with_the_protos_names() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let get = json_of(&server, "get 1").await;
    assert_eq!(get["cache_info"]["status"], "CACHE_STATUS_ASSEMBLED");
    assert_eq!(get["cache_info"]["is_cached"], false, "what is not set is said too");
    assert_eq!(get["data"]["user_id"], "1");
    assert!(get["data"]["onboarding_data"]["research_preferences"].is_object());
    assert_eq!(get["sections"].as_array().unwrap().len(), 7);
    assert_eq!(get["sections"][0]["section"], "SECTION_ONBOARDING");
    assert!(get["cache_info"]["age"].as_str().unwrap().ends_with('s'), "a duration is a text");

    server.documents_stored(1).await;
    let stats = json_of(&server, "stats --most-accessed 1").await;
    // 64-bit integers are texts in proto3 JSON.
    assert_eq!((&stats["total_entries"], &stats["requests"]), (&json!("1"), &json!("1")));
    assert_eq!(stats["most_accessed"][0]["user_id"], "1");
    assert_eq!(
        stats["tiers"][1],
        json!({ "tier": "redis", "enabled": false, "hits": "0", "misses": "0",
        "hit_rate": 0.0, "breaker_state": "", "last_error": "", "errors": "0", "garbage": "0" })
    );

    let invalidated = json_of(&server, "invalidate 1").await;
    assert_eq!(invalidated["removed_entries"], "1");
    assert!(invalidated["token"].as_str().unwrap().ends_with(":1"));
    assert_eq!(json_of(&server, "cleanup").await, json!({ "deleted_count": "0" }));
    assert_eq!(json_of(&server, "healthcheck").await, json!({ "status": "SERVING" }));
    let warmed = json_of(&server, "warm 2").await;
    assert_eq!((&warmed["done"], &warmed["item"]["user_id"]), (&json!(1), &json!("2")));
    assert_eq!(warmed["status"], "CACHE_STATUS_ASSEMBLED");
}

#[tokio::test]
async fn the_exit_code_is_the_grpc_code_and_the_failure_one_line() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let ahead = "8ed2dc9e:";
    let cases = [
        ("get nobody", 5, "NOT_FOUND: user not found (USER_NOT_FOUND)"),
        ("get nobody -o json", 5, "NOT_FOUND: user not found (USER_NOT_FOUND)"),
        ("get 1 --strategy 999", 5, "NOT_FOUND: strategy not found (STRATEGY_NOT_FOUND)"),
        ("get 1 --strategy -1", 3, "INVALID_ARGUMENT: strategy_id must be at least 1"),
        ("get 1 --max-age 25h", 3, "INVALID_ARGUMENT: max_age must be between 0 and 24 h"),
        (
            &format!("get 1 --min-token {ahead}"),
            3,
            "INVALID_ARGUMENT: min_token must be a token that InvalidateCache or CacheInfo returned",
        ),
        ("stats --most-accessed 101", 3, "INVALID_ARGUMENT: most_accessed_limit must be between 0 and 100"),
        ("cleanup --limit -1", 3, "INVALID_ARGUMENT: limit must be between 0 and 1000000"),
        ("healthcheck --service no.such", 5, "NOT_FOUND: service not registered (SERVICE_NOT_FOUND)"),
    ];
    for (words, exit_code, expected) in cases {
        assert_eq!(complaint(&call(&server, words).await, exit_code), expected, "{words}");
    }

    // Others may have been warmed, so stdout is not empty here.
    let warmed = call(&server, "warm 1 nobody").await;
    assert_eq!(warmed.exit_code, 5);
    assert!(has_line(&warmed.stdout, &["nobody NOT_FOUND: user not found"]), "{}", warmed.stdout);
    assert_eq!(warmed.stderr, "userdata: NOT_FOUND: user not found (1 of 2 failed)\n");
}

#[tokio::test]
async fn where_nothing_listens_the_exit_code_is_14() {
    let nobody = RefusingPort::bound();
    let addr = format!("http://{}", nobody.address());
    for command in [&["get", "1"][..], &["stats"], &["cleanup"], &["invalidate", "1"], &["warm", "1"], &["healthcheck"]]
    {
        let ran = userdata(&[command, &["--addr", &addr]].concat()).await;
        let expected = format!("UNAVAILABLE: cannot connect to {addr}: Connection refused (os error 111)");
        assert_eq!(complaint(&ran, 14), expected, "{command:?}");
    }
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_is_exit_2_and_help_is_exit_0() {
    for line in [
        "",
        "frobnicate",
        "get",
        "get 1 --strategy x",
        "get 1 --sections nonsense",
        "get 1 --addr ftp://127.0.0.1:1",
        "get 1 --timeout 5",
        "get 1 -o xml",
        "warm",
        "warm 1 --most-accessed 2",
        "migrate",
        "migrate down --steps 0",
        "serve --no-such-flag",
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let ran = userdata(&arguments).await;
        assert_eq!((ran.exit_code, ran.stdout.as_str()), (2, ""), "{line}: {ran:?}");
        assert!(!ran.stderr.is_empty() && !ran.stderr.contains("panicked"), "{line}: {}", ran.stderr);
    }
    for line in ["--help", "serve --help", "get --help", "migrate up --help", "config show --help", "--version"] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        assert!(userdata(&arguments).await.output().contains("userdata"), "{line}");
    }
    assert_eq!(userdata(&["version"]).await.output(), "userdata 0.1.0\n");
    assert_eq!(userdata(&["version", "-o", "json"]).await.output(), "{\"version\":\"0.1.0\"}\n");
}
