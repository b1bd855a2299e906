//! `serve`: what it says when it starts, and why it does not.

use std::{net::TcpListener, process::Command};

use sea_orm::ConnectionTrait;
use tonic::Code;
use userdata::{clock::Clock, proto::v1::GetComprehensiveUserDataRequest};
use userdata_migrations::{Tables, up};

use super::{complaint, has_line};
use testkit::{
    command::{program, userdata},
    database::{BOTH, Kind, database},
    demo::demo_settings,
    log_of,
    postgres::postgres,
    process::{Process, Start},
    proxy::{Network, Proxy},
    redis::redis,
    server::{Settings, launch, serve},
    wait_for,
};

const LONGER_LEASE: &str = "invalidation_log.lease is 500 ms, but the cluster agreed on 300 ms";

#[tokio::test]
async fn the_first_start_serves_within_seconds_and_says_what_to_try_next() {
    let database = database(Kind::Sqlite).await;
    let clock = Clock::system();
    let began = clock.now();
    let server = serve(demo_settings(&database, &[])).await;
    let took = clock.now().since(began);
    // Coarse: a debug build on a shared machine.
    assert!(took.as_secs() < 30, "{took:?}");

    let log = server.log();
    let banner: Vec<&str> = log.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert!(banner.len() <= 10, "{log}");
    let address = server.address.to_string();
    for words in [
        ["userdata", "listening on", &address],
        ["storage", "sqlite://", "userdata.db"],
        ["tiers", "memory, no Redis, database", ""],
        ["sources", "demo's users 1 to 30", ""],
        ["AI", "rules", ""],
        ["probes", "/healthz", "/readyz"],
        ["try", "userdata get 1 --addr", &address],
    ] {
        assert!(has_line(&log, &words), "{words:?}:\n{log}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let database = database(Kind::Sqlite).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, metrics, setting) in
        [(&*taken, "127.0.0.1:0", "server.listen"), ("127.0.0.1:0", &*taken, "metrics.listen")]
    {
        let _taken = TcpListener::bind(&taken);
        let flags = ["--listen", listen, "--metrics-listen", metrics, "--database-url", &database.url];
        let line = complaint(&userdata(&[&["serve"][..], &flags].concat()).await, 1);
        assert_eq!(line, format!("cannot listen on {taken} ({setting}): Address already in use (os error 98)"));
    }
}

#[tokio::test]
async fn a_lease_longer_than_the_clusters_is_refused_with_78() {
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        up(&db, Tables::CacheAndSources).await.unwrap();
        db.execute_unprepared("UPDATE invalidation_log_head SET lease_ms = 300").await.unwrap();
        let flags = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--database-url", &database.url];
        // However busy the machine is, the log can be read at the start.
        let patient = ["--set", "database.timeout=20s"];
        let line = complaint(&userdata(&[&["serve"][..], &flags, &patient].concat()).await, 78);
        assert!(line.contains(LONGER_LEASE), "{kind:?}: {line}");
    }
}

#[tokio::test]
async fn a_lease_longer_than_the_clusters_ends_an_instance_that_learns_of_it_later() {
    let database = database(Kind::Postgres).await;
    let db = database.connect().await;
    up(&db, Tables::CacheAndSources).await.unwrap();
    db.execute_unprepared("UPDATE invalidation_log_head SET lease_ms = 300").await.unwrap();
    let line = Proxy::before(postgres().await.port).await;
    line.set(Network::Refuse);
    let mut server = launch(Settings::on(&line.url(&database.url))).await;
    wait_for("the database to be missed", async || server.log().contains("not serving").then_some(())).await;
    line.restore();
    assert_eq!(server.exit_code().await, 78);
    assert!(server.log().contains(LONGER_LEASE), "{}", server.log());
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_named_by_its_setting() {
    let flags = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let url = ["--database-url", "sqlite:///proc/no/such.db"];
    let line = complaint(&userdata(&[&["serve"][..], &flags, &url].concat()).await, 1);
    assert!(line.contains("(database.url) cannot be opened"), "{line}");
}

#[tokio::test]
async fn a_server_waits_for_its_migration_and_then_serves_by_itself() {
    let database = database(Kind::Postgres).await;
    let mut settings = demo_settings(&database, &[]);
    settings.flags.retain(|flag| flag != "--demo");
    let server = launch(settings).await;
    let addr = format!("http://{}", server.address);
    let line = complaint(&userdata(&["healthcheck", "--addr", &addr]).await, 14);
    assert_eq!(line, "UNAVAILABLE: the server says NOT_SERVING");
    wait_for("the log to say what to do", async || {
        has_line(&server.log(), &["WARN", "not serving", "`userdata migrate up`", "invalidation_log_head"])
            .then_some(())
    })
    .await;

    let applied = userdata(&["migrate", "up", "--database-url", &database.url]).await.output();
    assert_eq!(applied.lines().count(), 1, "{applied}");
    server.healthy().await;
    assert_eq!(userdata(&["healthcheck", "--addr", &addr]).await.output(), "SERVING\n");

    // Its sources are the planning application's own, which has none of its tables here yet.
    let request = GetComprehensiveUserDataRequest { user_id: "1".to_owned(), ..Default::default() };
    let status = server.client().await.get_comprehensive_user_data(request).await.map(drop).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn two_servers_share_a_database_that_both_find_empty() {
    let database = database(Kind::Postgres).await;
    let (one, two) = tokio::join!(serve(demo_settings(&database, &[])), serve(demo_settings(&database, &[])));
    for server in [&one, &two] {
        let ran = userdata(&["get", "1", "--addr", &format!("http://{}", server.address)]).await;
        assert!(has_line(&ran.output(), &["complete", "true"]));
    }
}

/// The program, which writes its results where nothing more fits.
const FULL: [&str; 3] = ["sh", "-c", "exec \"$0\" \"$@\" >/dev/full"];

#[tokio::test]
async fn results_that_do_not_fit_on_the_disk_are_a_failure_that_says_so() {
    let mut command = Command::new(FULL[0]);
    command.args(&FULL[1..]).arg(program()).args(["config", "reference"]);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(
        (ran.status.code(), said.as_str()),
        (Some(9), "userdata: FAILED_PRECONDITION: cannot write to stdout: No space left on device (os error 28)\n")
    );
}

#[tokio::test]
async fn a_server_that_cannot_print_its_banner_says_so_and_serves() {
    let database = database(Kind::Sqlite).await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let flags = ["serve", "--demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let mut command: Vec<_> = FULL.map(Into::into).into();
    command.push(program().into());
    command.extend(flags.map(Into::into));
    command.extend(["--database-url".into(), database.url.clone().into()]);
    let start = Start { command, environment: vec![], log: &log, signal: "TERM", directory: None };
    let _server = Process::start(start);
    wait_for("the server to be ready", async || {
        let log = log_of(&log);
        let warned = has_line(&log, &["WARN", "the banner could not be printed", "No space left on device"]);
        (warned && has_line(&log, &["INFO", "ready"])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_not_connected_at_the_start_is_told() {
    let (database, redis) = (database(Kind::Sqlite).await, redis().await);
    assert_eq!(redis.command("ACL SETUSER app on >right allkeys allchannels +@all").await, "+OK");
    let url = redis.url().replace("redis://", "redis://app:wrong@");
    let server = serve(Settings::on(&database.url).with("redis.url", url)).await;
    assert!(has_line(&server.log(), &["WARN", "redis is not connected yet"]), "{}", server.log());
    assert!(!server.log().contains("wrong@") && !server.log().contains(":wrong"), "{}", server.log());
}

/// So that a server can be started with a broken rule; what is released knows no such flag.
#[cfg(feature = "mutants")]
#[tokio::test]
async fn the_command_line_takes_a_mutant_and_does_not_tell() {
    assert!(!userdata(&["serve", "--help"]).await.stdout.contains("mutant"));
    for (name, exit_code) in [("wait-all-does-not-wait", 0), ("nothing", 2)] {
        let ran = userdata(&["config", "check", "--mutant", name]).await;
        assert_eq!(ran.exit_code, exit_code, "{name}: {ran:?}");
    }
}
