//! The requirements of the configuration, from text to error message.

use std::{collections::BTreeMap, io::Write, time::Duration};

use super::*;
use crate::config::{SETTINGS, Structured, schema};

/// Loads from a file of this text, these variables and these flags.
fn load(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str, &str)]) -> Result<Loaded, ConfigError> {
    let mut on_disk = tempfile::NamedTempFile::new().expect("temporary file");
    on_disk.write_all(file.as_bytes()).expect("written");
    let environment: BTreeMap<_, _> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let flags: Vec<_> = flags
        .iter()
        .map(|(flag, key, value)| Flag { flag, key: (*key).to_owned(), value: (*value).to_owned() })
        .collect();
    Config::load(Some(on_disk.path()), &environment, &flags)
}

/// What is said about a bad configuration, without the temporary directory.
fn complaint(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str, &str)]) -> String {
    let error = load(file, variables, flags).expect_err("refused");
    assert_eq!(error.exit_code(), 2);
    let line = |line: &str| match line.rsplit_once("/.tmp") {
        Some((_, rest)) => format!("FILE{}", &rest[rest.find(':').unwrap_or_default()..]),
        None => line.to_owned(),
    };
    error.to_string().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_setting_reads_what_it_shows() {
    let defaults = Config::default();
    for setting in SETTINGS.iter().filter(|setting| !(setting.secret)()) {
        let shown = (setting.get)(&defaults);
        let mut config = Config::default();
        assert!((setting.set)(&mut config, &shown), "{} does not read its default {shown:?}", setting.key);
        assert_eq!((setting.get)(&config), shown, "{}", setting.key);
    }
}

#[test]
fn every_setting_is_documented_and_refuses_nonsense() {
    // Texts and paths accept anything printable, and filters any word as a target.
    let texts = [
        "redis.prefix",
        "redis.server_names",
        "ai.model",
        "log.filter",
        "ai.api_key",
        "ai.query",
        "auth.jwt_issuer",
        "auth.jwt_audience",
        "auth.jwt_user_claim",
    ];
    let paths = [
        "redis.ca",
        "redis.cert",
        "redis.key",
        "tls.cert",
        "tls.key",
        "tls.client_ca",
        "auth.tokens_file",
        "auth.principals_file",
        "auth.jwt_keys_file",
        "privacy.master_key_file",
        "sources.file_copies_in",
    ];
    for setting in SETTINGS {
        assert!(setting.doc.trim().ends_with('.'), "{}: {}", setting.key, setting.doc);
        let nonsense = if [&texts[..], &paths].concat().contains(&setting.key) { "\0" } else { "nonsense" };
        assert!(!(setting.set)(&mut Config::default(), nonsense), "{} accepts {nonsense:?}", setting.key);
    }
}

#[test]
fn every_quantity_has_bounds() {
    let defaults = Config::default();
    let is_quantity = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(':');
    let quantities: Vec<_> = SETTINGS.iter().filter(|setting| is_quantity(&(setting.get)(&defaults))).collect();
    for setting in &quantities {
        assert!((setting.expected)().contains(" from "), "{}", setting.key);
        for huge in ["99999999999999", "99999999999d", "99999999GiB", "1e300"] {
            assert!(!(setting.set)(&mut Config::default(), huge), "{} accepts {huge}", setting.key);
        }
    }
    assert!(quantities.len() > 40, "only {} of them were found", quantities.len());
}

#[test]
fn flags_override_the_environment_which_overrides_the_file_which_overrides_defaults() {
    let file =
        "[memory]\nttl = \"1s\"\nmax_entries = 1_000\n[redis]\ntimeout = \"10ms\"\n[server]\nlisten = \"127.0.0.1:1\"";
    let variables =
        [("USERDATA__SERVER__LISTEN", "127.0.0.1:2"), ("USERDATA__REDIS__TIMEOUT", "20ms"), ("PATH", "/bin")];
    let flags = [("--listen", "server.listen", "127.0.0.1:3")];

    let loaded = load(file, &variables, &flags).expect("valid");

    let config = &loaded.config;
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.redis.timeout, Duration::from_millis(20));
    assert_eq!(config.memory.ttl, Duration::from_secs(1));
    assert_eq!(config.memory.max_entries, 1000);
    assert_eq!(config.database.ttl, Duration::from_secs(3600));
    assert_eq!(loaded.origin("server.listen").to_string(), "--listen");
    assert_eq!(loaded.origin("redis.timeout").to_string(), "USERDATA__REDIS__TIMEOUT");
    assert!(loaded.origin("memory.ttl").to_string().ends_with(":2"), "{}", loaded.origin("memory.ttl"));
    assert_eq!(loaded.origin("database.ttl"), &Origin::Default);
}

#[test]
fn a_file_may_use_tomls_own_types() {
    let file = "[ai]\ntemperature = 0.5\nstructured = \"json_object\"\nmodel = \"m\"\n[demo]\nenabled = true\nas_of = 2026-01-31\n\
                [server]\nmax_request_bytes = 65_536\nmax_response_bytes = \"2MiB\"";
    let config = load(file, &[], &[]).expect("valid").config;
    assert_eq!(config.ai.temperature, Some(0.5));
    assert_eq!(config.ai.structured, Structured::JsonObject);
    assert!(config.demo.enabled);
    assert_eq!(config.demo.as_of, chrono::NaiveDate::from_ymd_opt(2026, 1, 31));
    assert_eq!((config.server.max_request_bytes, config.server.max_response_bytes), (65_536, 2 * 1024 * 1024));
}

#[test]
fn the_names_that_deployments_rely_on_work() {
    let variables = [
        ("USERDATA__SERVER__LISTEN", "127.0.0.1:50052"),
        ("USERDATA__METRICS__LISTEN", "[::1]:0"),
        ("USERDATA__DATABASE__URL", "postgres://localhost/userdata"),
        ("USERDATA__REDIS__URL", "redis-sentinel://localhost:26379/0?sentinelServiceName=main"),
        ("USERDATA__SOURCES__DATABASE_URL", ""),
        ("USERDATA__MEMORY__TTL", "300s"),
        ("USERDATA__MEMORY__MAX_ENTRIES", "10000"),
        ("USERDATA__MEMORY__MAX_BYTES", "256MiB"),
        ("USERDATA__REDIS__TTL", "1h"),
        ("USERDATA__REDIS__PREFIX", "p"),
        ("USERDATA__REDIS__TIMEOUT", "50ms"),
        ("USERDATA__DATABASE__TTL", "1h"),
        ("USERDATA__DATABASE__TIMEOUT", "200ms"),
        ("USERDATA__AI__BASE_URL", "http://[::1]:8080/v1"),
        ("USERDATA__AI__MODEL", "small"),
        ("USERDATA__AI__API_KEY", "key"),
        ("USERDATA__AI__SOFT_TIMEOUT", "8s"),
        ("USERDATA__AI__HARD_TIMEOUT", "60s"),
        ("USERDATA__AI__STRUCTURED", "json_schema"),
        ("USERDATA__AI__TEMPERATURE", "0.2"),
        ("USERDATA__AI__MAX_OUTPUT_TOKENS", "4096"),
        ("USERDATA__AI__CALLS_PER_MINUTE", "60"),
        ("USERDATA__SOURCES__COLUMN_BYTES_MAX", "256KiB"),
        ("USERDATA__INVALIDATION_LOG__POLL", "100ms"),
        ("USERDATA__INVALIDATION_LOG__LEASE", "500ms"),
        ("USERDATA__LOADS__BUDGET", "10s"),
        ("USERDATA__LOADS__MAX_CONCURRENT", "16"),
        ("USERDATA__LOADS__MAX_WAITING", "64"),
        ("USERDATA__DEMO", "true"),
    ];
    let loaded = load("", &variables, &[]).expect("valid");
    assert_eq!(loaded.origins.len(), variables.len());
    assert!(loaded.config.demo.enabled);
    for setting in SETTINGS {
        let variable = setting.variable();
        assert_eq!(from_variable(&variable, "").expect("a setting").key, setting.key);
    }
}

#[test]
fn a_bad_setting_names_its_origin_its_key_and_what_was_expected() {
    let duration = "expected a duration such as 5s, 100ms or 1h, from 1ms to 1d";
    let whole = "expected a whole number from 1 to 10000000";
    let address = "expected an address and a port such as 127.0.0.1:50051";
    let cases = [
        (complaint("\n[memory]\nttl = 300", &[], &[]), format!("FILE:3: memory.ttl: {duration}")),
        (complaint("memory.max_entries = []", &[], &[]), format!("FILE:1: memory.max_entries: {whole}")),
        (complaint("memory.max_entries = 0x10", &[], &[]), format!("FILE:1: memory.max_entries: {whole}")),
        (
            complaint("", &[("USERDATA__MEMORY__TTL", "2d")], &[]),
            format!("USERDATA__MEMORY__TTL: memory.ttl: {duration}"),
        ),
        (complaint("", &[], &[("--listen", "server.listen", "50051")]), format!("--listen: server.listen: {address}")),
        (
            complaint("[memory]\nttl = ", &[], &[]),
            "FILE:2: string values must be quoted, expected literal string".into(),
        ),
        (complaint("memory = 5", &[], &[]), "FILE:1: there is no setting memory; did you mean memory.ttl?".into()),
        (
            complaint("[memory]\nttl = \"x\"", &[("USERDATA__INVALIDATION_LOG__POLL", "0s")], &[]),
            format!(
                "FILE:2: memory.ttl: {duration}\n\
                 USERDATA__INVALIDATION_LOG__POLL: invalidation_log.poll: expected a duration such as 5s, 100ms or 1h, from 1ms to 10s"
            ),
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said, expected);
    }
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    let cases = [
        (
            complaint("[memory]\nttk = \"5s\"", &[], &[]),
            "FILE:2: there is no setting memory.ttk; did you mean memory.ttl?",
        ),
        (complaint("[memroy]\nttl = \"5s\"", &[], &[]), "FILE:1: there is no setting memroy; did you mean memory?"),
        (
            complaint("[memory.ttl]\nx = 1", &[], &[]),
            "FILE:1: memory.ttl: expected a duration such as 5s, 100ms or 1h, from 1ms to 1d",
        ),
        (
            complaint("", &[("USERDATA__SERVER__LISTN", "x")], &[]),
            "USERDATA__SERVER__LISTN: there is no setting server.listn; did you mean server.listen?",
        ),
        (complaint("", &[("USERDATA__XYZZY", "x")], &[]), "USERDATA__XYZZY: there is no setting xyzzy"),
        (
            complaint("", &[], &[("--set", "redis.uri", "x")]),
            "--set: there is no setting redis.uri; did you mean redis.url?",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said, expected);
    }
}

#[test]
fn one_layer_says_a_thing_once() {
    assert_eq!(
        complaint("", &[], &[("--demo", "demo.enabled", "true"), ("--set", "demo.enabled", "false")]),
        "--set: demo.enabled: is already set by --demo"
    );
}

#[test]
fn settings_have_to_fit_together() {
    let cases: [(&[(&str, &str)], &str); 10] = [
        (
            &[("USERDATA__REDIS__TTL", "1m")],
            "memory.ttl (5m, default) must be at most redis.ttl (1m, USERDATA__REDIS__TTL)",
        ),
        (
            &[("USERDATA__DATABASE__TTL", "30m")],
            "redis.ttl (1h, default) must be at most database.ttl (30m, USERDATA__DATABASE__TTL)",
        ),
        (
            &[("USERDATA__DATABASE__STALE_IF_ERROR", "1m")],
            "database.ttl (1h, default) must be at most database.stale_if_error (1m, USERDATA__DATABASE__STALE_IF_ERROR)",
        ),
        (
            &[("USERDATA__LOADS__BUDGET", "8499ms")],
            "loads.budget (8499ms, USERDATA__LOADS__BUDGET) must be at least 500ms longer than \
             sources.hard_timeout (8s, default)",
        ),
        (
            &[("USERDATA__INVALIDATION_LOG__LEASE", "200ms")],
            "invalidation_log.lease (200ms, USERDATA__INVALIDATION_LOG__LEASE) must be more than twice invalidation_log.poll (100ms, default)",
        ),
        (
            &[("USERDATA__SOURCES__SOFT_TIMEOUT", "9s")],
            "sources.soft_timeout (9s, USERDATA__SOURCES__SOFT_TIMEOUT) must be at most sources.hard_timeout (8s, default)",
        ),
        (
            &[("USERDATA__AI__SOFT_TIMEOUT", "2m")],
            "ai.soft_timeout (2m, USERDATA__AI__SOFT_TIMEOUT) must be at most ai.hard_timeout (1m, default)",
        ),
        (
            &[("USERDATA__AI__BASE_URL", "https://example.org/v1")],
            "ai.base_url (https://example.org/v1, USERDATA__AI__BASE_URL) needs ai.model (not set, default)",
        ),
        (
            &[("USERDATA__AI__BASE_URL", "http://example.org/v1"), ("USERDATA__AI__MODEL", "m")],
            "ai.base_url (http://example.org/v1, USERDATA__AI__BASE_URL) needs https, or plain http allowed by \
             ai.insecure_http (false, default)",
        ),
        (
            &[("USERDATA__AI__BASE_URL", "https://example.org/v1?a=b")],
            "USERDATA__AI__BASE_URL: ai.base_url: expected an https:// or http:// URL, without credentials and query, or \
             nothing",
        ),
    ];
    for (variables, expected) in cases {
        assert_eq!(complaint("", variables, &[]), expected);
    }
    let fitting = [("USERDATA__LOADS__BUDGET", "8500ms"), ("USERDATA__INVALIDATION_LOG__LEASE", "201ms")];
    load("", &fitting, &[]).expect("exactly enough is enough");
    for base_url in ["http://ollama:11434/v1", "http://10.0.0.5:8000/v1"] {
        let allowed = [
            ("USERDATA__AI__BASE_URL", base_url),
            ("USERDATA__AI__MODEL", "m"),
            ("USERDATA__AI__INSECURE_HTTP", "true"),
        ];
        load("", &allowed, &[]).expect("plain http is allowed");
    }
}

#[test]
fn secrets_come_from_files_too_and_are_never_shown() {
    let mut secret = tempfile::NamedTempFile::new().expect("temporary file");
    secret.write_all("\u{feff}s3cret\r\n".as_bytes()).expect("written");
    let path = secret.path().to_str().expect("UTF-8");

    let variables = [
        ("USERDATA__AI__API_KEY_FILE", path),
        ("USERDATA__DATABASE__URL", "postgres://user:s3cret@localhost/userdata\n"),
    ];
    let loaded = load("", &variables, &[]).expect("valid");

    assert_eq!(loaded.config.ai.api_key.as_ref().expect("read").expose(), "s3cret");
    assert_eq!(loaded.config.database.url.place(), "postgres://localhost/userdata");
    assert_eq!(loaded.origin("ai.api_key").to_string(), "USERDATA__AI__API_KEY_FILE");
    let shown: String = SETTINGS.iter().map(|setting| (setting.get)(&loaded.config)).collect();
    assert!(!shown.contains("s3cret") && shown.contains("***"), "{shown}");
    assert!(!format!("{loaded:?}").contains("s3cret"));

    let bad_secrets = [
        complaint("[ai]\napi_key = \"s3cret with spaces\"", &[], &[]),
        complaint("[database]\nurl = \"mysql://user:s3cret@localhost\"", &[], &[]),
        complaint("[ai]\napi_key = \"s3cret", &[], &[]),
        complaint("[ai]\napi_key = s3cret", &[], &[]),
        complaint("[ai]\nbase_url = \"https://s3cret@localhost\"", &[], &[]),
    ];
    for said in bad_secrets {
        assert!(!said.contains("s3cret"), "{said}");
    }
    let missing = complaint("", &[("USERDATA__AI__API_KEY_FILE", "/nonexistent")], &[]);
    assert!(missing.starts_with("USERDATA__AI__API_KEY_FILE: ai.api_key: /nonexistent: No such file"), "{missing}");
    let twice = complaint("", &[("USERDATA__AI__API_KEY_FILE", path), ("USERDATA__AI__API_KEY", "x")], &[]);
    assert_eq!(twice, "USERDATA__AI__API_KEY_FILE: ai.api_key: is already set by USERDATA__AI__API_KEY");
    let not_a_secret = complaint("", &[("USERDATA__AI__MODEL_FILE", path)], &[]);
    assert!(not_a_secret.contains("there is no setting ai.model_file"), "{not_a_secret}");
}

#[test]
fn listening_beyond_loopback_is_refused_unless_it_is_asked_for() {
    let remote = [("USERDATA__SERVER__LISTEN", "0.0.0.0:50051"), ("USERDATA__METRICS__LISTEN", "[::]:9464")];
    let error = load("", &remote, &[]).expect("valid by itself").check_listeners().expect_err("refused");
    assert_eq!(error.exit_code(), 78);
    let said = error.to_string();
    assert!(
        said.starts_with("USERDATA__SERVER__LISTEN: server.listen: an address other than loopback needs TLS"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2);

    let encrypted = [("--set", "tls.cert", "cert.pem"), ("--set", "tls.key", "key.pem")];
    let known = [("--set", "auth.mode", "token"), ("--set", "auth.tokens_file", "callers")];
    let scraped = [("--set", "metrics.allow_remote", "true")];
    let check = |flags: &[(&'static str, &str, &str)]| load("", &remote, flags).expect("valid").check_listeners();
    for half in
        [[&encrypted[..], &scraped].concat(), [&known[..], &scraped].concat(), [&encrypted[..], &known].concat()]
    {
        check(&half).expect_err("half of it");
    }
    check(&[&encrypted[..], &known, &scraped].concat()).expect("guarded");

    let allowed = [("--insecure-allow-remote", "server.insecure_allow_remote", "true")];
    load("", &remote, &allowed).expect("valid").check_listeners().expect("asked for");
    load("", &[], &[]).expect("valid").check_listeners().expect("loopback");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent.toml")), &BTreeMap::new(), &[]).expect_err("refused");
    assert!(error.to_string().starts_with("/nonexistent.toml: No such file"), "{error}");
}

#[test]
fn the_schema_describes_every_setting() {
    let schema = schema();
    for setting in SETTINGS {
        let (section, name) = setting.path();
        let described = &schema["properties"][section]["properties"][name];
        let text = described["description"].as_str().expect(setting.key);
        assert!(text.contains(&(setting.expected)()), "{}: {text}", setting.key);
        assert_eq!(described.get("default").is_some(), !(setting.secret)(), "{}", setting.key);
    }
    assert_eq!(schema["properties"]["memory"]["properties"]["max_entries"]["default"], 10_000);
    assert_eq!(schema["properties"]["memory"]["properties"]["ttl"]["default"], "5m");
    assert_eq!(schema["properties"]["ai"]["properties"]["api_key_file"]["type"], "string");
}
