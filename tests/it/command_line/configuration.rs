//! Settings: shown with their origin, described, and refused with origin, key and what was expected.

use serde_json::Value as Json;

use super::{complaint, has_line};
use testkit::command::{userdata, userdata_with};

#[tokio::test]
async fn a_setting_that_cannot_be_used_is_exit_2_with_its_origin_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("userdata.toml");
    std::fs::write(&file, "[memory]\nttl = \"soon\"\n").unwrap();
    let file = file.to_str().unwrap();
    let missing = format!("{file}.not");
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        (&["--set", "memory.ttl=soon"], &[], &["--set", "memory.ttl", "expected a duration such as 5s"]),
        (&["--listen", "here"], &[], &["--listen", "server.listen", "expected an address"]),
        (&[], &[("USERDATA__MEMORY__TTL", "soon")], &["USERDATA__MEMORY__TTL", "memory.ttl", "expected"]),
        (&[], &[("USERDATA__MEMORY__TTLL", "5s")], &["USERDATA__MEMORY__TTLL", "did you mean memory.ttl?"]),
        (&["--config", file], &[], &[file, ":2", "memory.ttl", "expected"]),
        (&["--config", &missing], &[], &[&missing, "No such file"]),
        (&["--set", "memory.ttl=2h"], &[], &["memory.ttl (2h, --set)", "must be at most", "redis.ttl (1h, default)"]),
    ];
    for (flags, environment, words) in cases {
        for command in
            [&["config", "check"][..], &["config", "show"], &["serve"], &["migrate", "up"], &["demo", "seed"]]
        {
            let ran = userdata_with(&[command, flags].concat(), environment).await;
            let line = complaint(&ran, 2);
            for word in words {
                assert!(line.contains(word), "{command:?} {flags:?}: no {word:?} in: {line}");
            }
        }
    }
}

#[tokio::test]
async fn a_listener_that_everybody_reaches_is_exit_78() {
    for (flag, key) in [("--listen", "server.listen"), ("--metrics-listen", "metrics.listen")] {
        for command in [&["serve"][..], &["config", "check"]] {
            let ran = userdata(&[command, &[flag, "0.0.0.0:0"]].concat()).await;
            let line = complaint(&ran, 78);
            assert!(line.contains(flag) && line.contains(key) && line.contains("--insecure-allow-remote"), "{line}");
        }
        let allowed = userdata(&["config", "check", flag, "0.0.0.0:0", "--insecure-allow-remote"]).await;
        assert_eq!(allowed.output(), "the configuration is valid\n");
    }
}

#[tokio::test]
async fn effective_settings_are_shown_with_their_origin() {
    let environment = [("USERDATA__DATABASE__TTL", "2h"), ("USERDATA__LOG__FORMAT", "json")];
    let flags = ["--set", "memory.max_entries=7", "--demo"];
    let shown = userdata_with(&[&["config", "show"][..], &flags].concat(), &environment).await.output();
    for line in [
        ["memory.ttl", "5m", "default"],
        ["database.ttl", "2h", "USERDATA__DATABASE__TTL"],
        ["log.format", "json", "USERDATA__LOG__FORMAT"],
        ["memory.max_entries", "7", "--set"],
        ["demo.enabled", "true", "--demo"],
    ] {
        assert!(has_line(&shown, &line), "{line:?}:\n{shown}");
    }
    let json = userdata_with(&[&["config", "show", "-o", "json"][..], &flags].concat(), &environment).await.output();
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json["memory.max_entries"], serde_json::json!({ "value": "7", "origin": "--set" }));
}

#[tokio::test]
async fn the_schema_describes_the_file() {
    let schema: Json = serde_json::from_str(&userdata(&["config", "schema"]).await.output()).unwrap();
    let ttl = &schema["properties"]["memory"]["properties"]["ttl"];
    assert!(ttl["description"].as_str().is_some_and(|text| !text.is_empty()), "{ttl}");
    assert_eq!(schema["properties"]["memory"]["additionalProperties"], false);
}

#[tokio::test]
async fn the_written_reference_is_the_one_that_the_settings_make() {
    let made = userdata(&["config", "reference"]).await.output();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let written = std::fs::read_to_string(file).unwrap_or_default();
    let first = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(
        made == written,
        "docs/configuration.md is not what the settings say; write it anew with\n\
         cargo run -- config reference > docs/configuration.md\nThe first difference: {first:#?}"
    );
}
