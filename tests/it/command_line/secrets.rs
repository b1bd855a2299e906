//! Nothing secret is printed: not by commands, not in the log, not when things fail.

use userdata::proto::v1::GetComprehensiveUserDataRequest;

use testkit::{
    command::userdata_with,
    database::{Kind, database},
    demo::demo_settings,
    redis::redis,
    server::serve,
};

/// Part of every secret below, and of nothing else.
const MARKER: &str = "hunter2";

#[track_caller]
fn assert_silent(what: &str, text: &str) {
    if let Some(line) = text.lines().find(|line| line.contains(MARKER)) {
        panic!("{what}: {line}");
    }
}

#[tokio::test]
async fn no_secret_is_printed_or_logged_even_when_everything_is_traced_and_fails() {
    let database = database(Kind::Postgres).await;
    let redis = redis().await;
    // The server trusts every user, so any password opens it; Redis has none, so that this one is refused.
    let with_password = database.url.replace("postgres@", &format!("postgres:{MARKER}-database@"));
    assert_ne!(with_password, database.url);
    let redis_url = format!("redis://:{MARKER}-redis@127.0.0.1:{}", redis.port);
    let api_key = format!("{MARKER}-key");
    let header = format!("x-key: {MARKER}-header");
    let query = format!("key={MARKER}-query");
    let proxy = format!("http://user:{MARKER}-proxy@127.0.0.1:9");
    let environment = [
        ("USERDATA__REDIS__URL", redis_url.as_str()),
        ("USERDATA__DATABASE__URL", &with_password),
        ("USERDATA__AI__BASE_URL", "http://127.0.0.1:9/v1"),
        ("USERDATA__AI__MODEL", "model"),
        ("USERDATA__AI__API_KEY", &api_key),
        ("USERDATA__AI__HEADERS", &header),
        ("USERDATA__AI__QUERY", &query),
        ("USERDATA__AI__PROXY", &proxy),
        ("USERDATA__LOG__FILTER", "trace"),
    ];
    for command in [
        &["config", "show"][..],
        &["config", "show", "-o", "json"],
        &["config", "check"],
        &["config", "check", "--set", "memory.ttl=x"],
        &["config", "check", "--redis-url", "hunter2://x"],
        &["config", "check", "--database-url", "postgres-hunter2"],
        &["migrate", "up"],
        &["migrate", "status"],
        &["demo", "seed"],
    ] {
        assert_silent(&format!("{command:?}"), &userdata_with(command, &environment).await.printed());
    }

    let token = format!("{MARKER} of a token");
    let collector = format!("http://user:{MARKER}@127.0.0.1:9");
    for (command, variable, value) in [
        (&["get", "1", "--addr", "http://127.0.0.1:9"][..], "USERDATA_TOKEN", &token),
        (&["doctor"], "OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
    ] {
        let ran = userdata_with(command, &[&environment[..], &[(variable, value)]].concat()).await;
        assert_silent(&format!("{command:?}"), &ran.printed());
        let told =
            ["--token: expected visible ASCII characters without spaces", "http://127.0.0.1:9 cannot be reached"];
        assert!(told.iter().any(|told| ran.printed().contains(told)), "{ran:?}");
    }

    let mut settings = demo_settings(&database, &environment);
    // The one with the password comes from the environment.
    let url = settings.flags.iter().position(|flag| flag == "--database-url").unwrap();
    settings.flags.drain(url..=url + 1);
    let mut server = serve(settings).await;
    let mut client = server.client().await;
    let request = GetComprehensiveUserDataRequest { user_id: "1".to_owned(), ..Default::default() };
    let reply = client.get_comprehensive_user_data(request).await.unwrap().into_inner();
    assert_silent("reply", &format!("{:?}", reply.sections));
    server.signal("TERM");
    assert_eq!(server.exit_code().await, 0);
    let log = server.log();
    assert!(log.contains("TRACE"), "everything is traced");
    assert_silent("log", &log);
}
