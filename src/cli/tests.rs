//! Command lines and what they mean.

use clap::CommandFactory;

use super::*;

fn parsed(line: &str, variables: &[(&str, &str)]) -> Result<Invocation, UsageError> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    parse_from(line.split_whitespace().map(OsString::from), &environment)
}

#[test]
fn the_command_line_is_consistent() {
    CommandLine::command().debug_assert();
}

#[test]
fn flags_become_settings() {
    let line = "userdata serve --listen 127.0.0.1:1 --metrics-listen 127.0.0.1:2 --http-listen 127.0.0.1:3 \
                --database-url sqlite://a \
                --redis-url redis://b --sources-database-url postgres://c --demo --demo-as-of 2026-01-31 \
                --set memory.ttl=1s --set invalidation_log.poll=50ms";
    let Ok(Invocation::Server(server_side::ServerCommand::Serve(loaded))) = parsed(line, &[]) else { panic!("serve") };
    let config = &loaded.config;
    assert_eq!((config.server.listen.port(), config.metrics.listen.port()), (1, 2));
    assert_eq!(config.http.listen.map(|listen| listen.port()), Some(3));
    assert_eq!(config.database.url.expose(), "sqlite://a");
    assert_eq!(config.redis.url.as_ref().map(config::Secret::expose), Some("redis://b"));
    assert_eq!(config.sources.database_url.as_ref().map(config::Secret::expose), Some("postgres://c"));
    assert!(config.demo.enabled);
    assert_eq!(config.demo.as_of, chrono::NaiveDate::from_ymd_opt(2026, 1, 31));
    assert_eq!(config.memory.ttl.as_secs(), 1);
    assert_eq!(config.invalidation_log.poll.as_millis(), 50);
    assert_eq!(loaded.origins.len(), 10);
}

#[test]
fn server_side_commands_are_handed_to_main() {
    use ServerCommand::*;
    let migration = |line: &str| match parsed(line, &[]) {
        Ok(Invocation::Server(Migrate(migration, _))) => migration,
        other => panic!("{line}: {other:?}"),
    };
    for line in ["userdata migrate up --database-url sqlite://x", "userdata migrate --database-url sqlite://x up"] {
        let Ok(Invocation::Server(Migrate(Migration::Up, loaded))) = parsed(line, &[]) else { panic!("{line}") };
        assert_eq!(loaded.config.database.url.expose(), "sqlite://x", "flags may stand before and after the action");
    }
    assert_eq!(migration("userdata migrate down"), Migration::Down { steps: 1 });
    assert_eq!(migration("userdata migrate down --steps 3"), Migration::Down { steps: 3 });
    assert_eq!(migration("userdata migrate status -o json"), Migration::Status(OutputArgs { output: Format::Json }));
    let seeded = parsed("userdata demo seed --demo-as-of 2026-01-31", &[]).expect("valid");
    assert!(matches!(seeded, Invocation::Server(DemoSeed(loaded)) if loaded.config.demo.as_of.is_some()));
}

#[test]
fn what_cannot_be_used_is_refused_with_its_exit_code() {
    let cases = [
        ("userdata", 2, "Usage: userdata <COMMAND>"),
        ("userdata serv", 2, "unrecognized subcommand 'serv'"),
        ("userdata --version", 0, env!("CARGO_PKG_VERSION")),
        ("userdata get --help", 0, "--min-token"),
        ("userdata get", 2, "<USER>"),
        ("userdata get 1 --sections onboarding,unspecified", 2, "expected some of onboarding,strategy,"),
        ("userdata get 1 --param k", 2, "expected KEY=VALUE"),
        ("userdata get 1 --max-age 5", 2, "expected a duration such as 5s"),
        ("userdata get 1 --timeout 2d", 2, "expected at most 1d"),
        ("userdata get 1 --addr 127.0.0.1:50051", 2, "expected http://HOST:PORT"),
        ("userdata warm", 2, "required arguments"),
        ("userdata warm 1 --most-accessed 2", 2, "cannot be used with"),
        ("userdata migrate down --steps 0", 2, "0 is not in 1.."),
        ("userdata serve --listen nowhere", 2, "--listen: server.listen: expected an address"),
        ("userdata serve --set a.b=c", 2, "--set: there is no setting a.b"),
    ];
    for (line, code, said) in cases {
        let refusal = parsed(line, &[]).expect_err(line);
        assert_eq!(refusal.exit_code(), code, "{line}");
        assert!(refusal.to_string().contains(said), "{line}: {refusal}");
    }
}

#[test]
fn only_what_listens_is_refused_for_listening_to_everybody() {
    let remote = [("USERDATA__SERVER__LISTEN", "0.0.0.0:1")];
    for line in ["userdata serve", "userdata config check"] {
        assert_eq!(parsed(line, &remote).expect_err(line).exit_code(), 78);
    }
    parsed("userdata serve --insecure-allow-remote", &remote).expect("asked for");
    // A migration may share the server's environment.
    parsed("userdata migrate up", &remote).expect("does not listen");
}
