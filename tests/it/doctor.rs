//! `userdata doctor` against real servers: well, and broken in every way that it knows. Each finding has to name what
//! helps.

mod ai;
mod rights;

use std::{net::SocketAddr, path::Path};

use chrono::Days;
use serde_json::Value as Json;

use testkit::{
    command::userdata_with,
    database::{Kind, TestDatabase, database, demo_database, execute, migrate_cache, today},
    inputs::INPUTS,
    pki::Authority,
    postgres::own_postgres,
    proxy::{Network, Proxy},
    redis::{redis, redis_with},
    server::{Settings, serve},
    sources::sources_in,
    wait_for,
};

/// Ports that are free and stay so.
const PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];

/// What was said, and the exit code with it.
#[derive(Debug)]
struct Report {
    exit_code: i32,
    text: String,
    findings: Vec<Json>,
}

impl Report {
    /// There is such a finding, with words of what was found and of what helps.
    #[track_caller]
    fn has(&self, check: &str, verdict: &str, found: &str, remedy: &str) {
        let part = |finding: &Json, name: &str| finding[name].as_str().unwrap().to_owned();
        let is_it = |finding: &&Json| {
            part(finding, "check") == check
                && part(finding, "verdict") == verdict
                && part(finding, "found").contains(found)
                && part(finding, "remedy").contains(remedy)
        };
        assert!(self.findings.iter().any(|finding| is_it(&finding)), "{check} {verdict} {found} {remedy}: {self:#?}");
    }

    /// Nothing of this kind is amiss.
    #[track_caller]
    fn is_well(&self) {
        let amiss: Vec<_> = self.findings.iter().filter(|finding| finding["verdict"] != "OK").collect();
        assert!(amiss.is_empty(), "{amiss:#?}");
        assert_eq!(self.exit_code, 0);
    }
}

async fn doctor(settings: &[(&str, &str)], flags: &[&str]) -> Report {
    let ran = userdata_with(&[&["doctor", "-o", "json"][..], flags].concat(), settings).await;
    assert_eq!(ran.stderr, "", "{ran:?}");
    let json: Json = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let findings = json["findings"].as_array().unwrap().clone();
    let fails = findings.iter().any(|finding| finding["verdict"] == "FAIL");
    assert_eq!(ran.exit_code, i32::from(fails), "1 if something does not work: {ran:?}");
    for finding in &findings {
        assert_eq!(finding["remedy"] == "", finding["verdict"] == "OK", "whatever is amiss has a remedy: {finding}");
    }
    Report { exit_code: ran.exit_code, text: ran.stdout, findings }
}

async fn doctor_of(database: &TestDatabase, more: &[(&str, &str)]) -> Report {
    let settings = [&[("USERDATA__DATABASE__URL", database.url.as_str())][..], more].concat();
    doctor(&settings, &PORTS).await
}

/// A demo database on PostgreSQL with its triggers.
async fn with_triggers() -> TestDatabase {
    let database = demo_database(Kind::Postgres).await;
    let installed = userdata_with(&["triggers", "install", "--database-url", &database.url], &[]).await;
    assert_eq!(installed.exit_code, 0, "{installed:?}");
    database
}

#[tokio::test]
async fn where_all_is_well_it_says_so() {
    let database = with_triggers().await;
    let redis = redis_with("--maxmemory 64mb --maxmemory-policy allkeys-lru").await;
    let collector = redis.url().replace("redis:", "http:");
    let more = [
        ("USERDATA__REDIS__URL", redis.url()),
        // A server that is reached, and not asked.
        ("USERDATA__AI__BASE_URL", collector.clone()),
        ("USERDATA__AI__MODEL", "model".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        // A busy machine may answer late.
        ("USERDATA__REDIS__TIMEOUT", "10s".to_owned()),
    ];
    let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
    let said = doctor_of(&database, &more).await;
    said.is_well();
    for check in [
        "configuration",
        "tls and callers",
        "listener",
        "metrics listener",
        "cache database",
        "migrations",
        "cache tables",
        "database connections",
        "invalidation log",
        "database clock",
        "sources database",
        "sources tables",
        "change triggers",
        "change outbox",
        "redis",
        "redis latency",
        "redis memory",
        "redis notifications",
        "ai endpoint",
        "clocks",
        "collector",
    ] {
        said.has(check, "OK", "", "");
    }
    let settings = [("USERDATA__DATABASE__URL", database.url.as_str())];
    let ran = userdata_with(&[&["doctor"][..], &PORTS].concat(), &settings).await.output();
    assert!(ran.ends_with("all is well\n") && ran.starts_with("OK    configuration "), "{ran}");
}

#[tokio::test]
async fn it_changes_nothing_and_creates_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a/b.db?mode=rwc", directory.path().display());
    let said = doctor(&[("USERDATA__DATABASE__URL", &url)], &PORTS).await;
    said.has("cache database", "WARN", "does not exist", "userdata serve");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    let embedded = demo_database(Kind::Sqlite).await;
    let before = std::fs::read(embedded.file()).unwrap();
    let said = doctor_of(&embedded, &[]).await;
    said.has("migrations", "OK", "up to date", "");
    said.has("change triggers", "WARN", "no table has them", "userdata triggers install");
    assert_eq!(std::fs::read(embedded.file()).unwrap(), before);
}

#[tokio::test]
async fn a_server_that_runs_is_no_conflict_but_another_program_is() {
    let database = with_triggers().await;
    let server = serve(Settings::on(&database.url)).await;
    let log = server.log();
    let probes = log.split_once("/healthz").unwrap().0.rsplit_once("http://").unwrap().1;
    let flags =
        |metrics: &str| ["--listen".to_owned(), server.address.to_string(), "--metrics-listen".into(), metrics.into()];
    let said =
        doctor(&[("USERDATA__DATABASE__URL", &database.url)], &flags(probes).each_ref().map(|flag| &**flag)).await;
    said.is_well();
    said.has("listener", "OK", "a userdata server runs and is ready", "");
    let elsewhere = flags("127.0.0.1:0");
    let said = doctor(&[("USERDATA__DATABASE__URL", &database.url)], &elsewhere.each_ref().map(|flag| &**flag)).await;
    said.has("listener", "FAIL", "no userdata server answers", "ss -ltnp");
}

#[tokio::test]
async fn a_redis_that_is_down_frozen_or_badly_set_up_is_told() {
    let database = with_triggers().await;
    let mut redis = redis().await;
    let url = redis.url();
    let redis_url = [("USERDATA__REDIS__URL", url.as_str()), ("USERDATA__REDIS__TIMEOUT", "1ms")];
    doctor_of(&database, &redis_url).await.has("redis memory", "WARN", "no limit", "allkeys-lru");
    assert_eq!(redis.command("CONFIG SET maxmemory 64mb").await, "+OK");
    doctor_of(&database, &redis_url).await.has("redis memory", "WARN", "noeviction", "allkeys-lru");
    assert_eq!(redis.command("REPLICAOF 127.0.0.1 9").await, "+OK");
    doctor_of(&database, &redis_url).await.has("redis role", "FAIL", "replica", "point redis.url at the primary");
    redis.freeze();
    doctor_of(&database, &redis_url).await.has("redis", "FAIL", "", "redis.url");
    redis.thaw();
    redis.kill().await;
    let said = doctor_of(&database, &redis_url).await;
    said.has("redis", "FAIL", "refused", "start it, or correct redis.url");
    said.has("cache database", "OK", "answers", "");
}

#[tokio::test]
async fn a_database_that_is_silent_or_away_is_told() {
    let database = with_triggers().await;
    let port: SocketAddr = database.url.split(['@', '/']).find_map(|part| part.parse().ok()).unwrap();
    let proxy = Proxy::before(port.port()).await;
    let url = proxy.url(&database.url);
    let settings = [("USERDATA__DATABASE__URL", url.as_str())];
    doctor(&settings, &PORTS).await.has("cache database", "OK", "answers", "");
    proxy.set(Network::Blackhole);
    let said = doctor(&settings, &PORTS).await;
    said.has("cache database", "FAIL", "no answer within 3s", "correct database.url");
    proxy.set(Network::Refuse);
    doctor(&settings, &PORTS).await.has("cache database", "FAIL", "refused", "start it, or correct database.url");
    // Told once, where the sources share it.
    assert!(said.findings.iter().all(|finding| finding["check"] != "sources database"), "{said:#?}");
    let elsewhere = [settings[0], ("USERDATA__SOURCES__DATABASE_URL", url.as_str())];
    let said = doctor(&elsewhere, &PORTS).await;
    said.has("sources database", "FAIL", "refused", "sources.database_url");
    said.has("change triggers", "WARN", "no login", "sources.relay_database_url");
}

#[tokio::test]
async fn missing_tables_and_rights_are_told() {
    let empty = database(Kind::Postgres).await;
    let said = doctor_of(&empty, &[]).await;
    said.has("migrations", "FAIL", "m0001_initial", "userdata migrate up");
    said.has("sources tables", "FAIL", "onboarding_sessions", "database.url");
    let embedded = database(Kind::Sqlite).await;
    migrate_cache(&embedded.url).await;
    doctor_of(&embedded, &[]).await.has("migrations", "WARN", "missing", "userdata serve");

    let seeded = with_triggers().await;
    let many = [("USERDATA__DATABASE__MAX_CONNECTIONS", "1000")];
    doctor_of(&seeded, &many).await.has("database connections", "WARN", "room for 0", "database.max_connections");
    seeded.execute("ALTER TABLE persona_data RENAME COLUMN core_persona TO core").await;
    seeded.execute("UPDATE invalidation_log_head SET lease_ms = 100").await;
    let role = format!("doctors_of_{}", seeded.url.rsplit('/').next().unwrap());
    seeded.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    for input in INPUTS.iter().filter(|input| input.table != "persona_data") {
        let columns = [input.plain, input.json].concat().join(", ");
        seeded.execute(&format!("GRANT SELECT ({columns}) ON {} TO {role}", input.table)).await;
    }
    let said = doctor_of(&seeded, &[]).await;
    said.has("sources tables", "WARN", "missing columns: persona_data.core_persona", "older version");
    said.has("invalidation log", "FAIL", "the cluster agreed on 100 ms", "use that invalidation_log.lease");
    let reader = seeded.url.replacen("postgres@", &format!("{role}@"), 1);
    let said = doctor_of(&seeded, &[("USERDATA__SOURCES__DATABASE_URL", &reader)]).await;
    said.has("sources tables", "FAIL", "not granted: persona_data", "GRANT SELECT");
    let refused = said.findings.iter().find(|finding| finding["found"].as_str().unwrap().starts_with("not granted"));
    assert_eq!(refused.unwrap()["found"], "not granted: persona_data", "granted columns are enough");
    seeded.execute(&format!("DROP OWNED BY {role}")).await;
    seeded.execute(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn the_remedy_for_an_empty_log_head_restores_it_and_keeps_ai_responses() {
    let database = with_triggers().await;
    database
        .execute(
            "INSERT INTO ai_response_cache (request_hash, user_id, model, prompt_version, response, created_at, last_used_at) \
             VALUES ('h', '1', 'm', 'p', '{}', now(), now())",
        )
        .await;
    database.execute("DELETE FROM invalidation_log_head").await;

    let said = doctor_of(&database, &[]).await;
    said.has("invalidation log", "FAIL", "invalidation_log_head is empty", "DELETE FROM invalidation_log; INSERT INTO");
    let finding = said.findings.iter().find(|finding| finding["check"] == "invalidation log").unwrap();
    let (_, statements) = finding["remedy"].as_str().unwrap().split_once("while no instance runs: ").unwrap();
    database.execute(statements).await;

    doctor_of(&database, &[]).await.has("invalidation log", "OK", "at 0, low watermark 0", "");
    database.execute("ALTER TABLE invalidation_log ALTER user_hash TYPE text").await;
    let row = "INSERT INTO invalidation_log (position, user_hash, sections, nonce) VALUES (2, 'one', 127, 7)";
    database.execute(row).await;
    database.execute("UPDATE invalidation_log_head SET position = 3").await;
    let said = doctor_of(&database, &[]).await;
    said.has("invalidation log rows", "WARN", "rows missing among the newest 3: 2", "pooler");
    said.has("invalidation log rows", "WARN", "rows that cannot be read: 1, the first at position 2", "");
    assert_eq!(database.rows("SELECT request_hash FROM ai_response_cache").await.len(), 1);
}

#[tokio::test]
async fn changes_that_would_go_unnoticed_are_told() {
    let database = demo_database(Kind::Postgres).await;
    let install = "userdata triggers install";
    doctor_of(&database, &[]).await.has("change triggers", "WARN", "no table has them", install);
    let installed = userdata_with(&["triggers", "install", "--database-url", &database.url], &[]).await;
    assert_eq!(installed.exit_code, 0, "{installed:?}");
    database.execute("ALTER TABLE persona_data DISABLE TRIGGER USER").await;
    doctor_of(&database, &[]).await.has(
        "change triggers",
        "FAIL",
        "disabled, incomplete or of another version on persona_data",
        install,
    );
    database
        .execute(
            "INSERT INTO invalidation_outbox (user_id, sections, created_at) \
             VALUES ('1', 1, (now() AT TIME ZONE 'utc') - INTERVAL '1 hour')",
        )
        .await;
    doctor_of(&database, &[]).await.has("change outbox", "WARN", "no instance relays them", "start an instance");
    database.execute("CREATE PUBLICATION p FOR TABLE invalidation_outbox_state").await;
    let published = "published: p (invalidation_outbox_state)";
    doctor_of(&database, &[]).await.has("change outbox", "FAIL", published, "ALTER PUBLICATION");
    database.execute("DROP TABLE invalidation_outbox").await;
    doctor_of(&database, &[]).await.has("change outbox", "FAIL", "no outbox", install);
    doctor_of(&database, &[("USERDATA__SOURCES__CHANGE_FEED", "false")]).await.has("change triggers", "OK", "off", "");
}

#[tokio::test]
async fn certificates_callers_and_secrets_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Authority::new(directory.path(), "ours");
    pki.certify_server();
    let database = with_triggers().await;
    let token = userdata_with(&["token", "new", "--role", "reader", "--name", "app", "-o", "json"], &[]).await.output();
    let line = serde_json::from_str::<Json>(&token).unwrap()["line"].as_str().unwrap().to_owned();
    let tokens = pki.file("tokens");
    std::fs::write(&tokens, line).unwrap();
    let path = |name: &str| pki.file(name).display().to_string();
    let (cert, key, tokens_file) = (path("cert"), path("key"), tokens.display().to_string());
    let settings = [
        ("USERDATA__TLS__CERT", cert.as_str()),
        ("USERDATA__TLS__KEY", &key),
        ("USERDATA__AUTH__MODE", "token"),
        ("USERDATA__AUTH__TOKENS_FILE", &tokens_file),
    ];
    permit(&key, 0o600);
    let said = doctor_of(&database, &settings).await;
    said.is_well();
    said.has("tls and callers", "OK", "fit together", "");
    said.has("certificates", "OK", "days more", "");
    permit(&key, 0o644);
    doctor_of(&database, &settings).await.has("secrets", "WARN", "all users", "chmod o-rwx");

    pki.certify_server_until(today() + Days::new(20));
    doctor_of(&database, &settings).await.has("certificates", "WARN", "expires in", "new one");
    pki.certify_server_until(today() - Days::new(3));
    doctor_of(&database, &settings).await.has("certificates", "FAIL", "days ago", "new one");
    std::fs::write(&key, "no key").unwrap();
    doctor_of(&database, &settings).await.has("tls and callers", "FAIL", "no private key", "tls.key");
    std::fs::remove_file(&cert).unwrap();
    doctor_of(&database, &settings).await.has("tls and callers", "FAIL", "cannot be read", "tls.cert");
}

fn permit(file: impl AsRef<Path>, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_findings_and_secrets_are_never_printed() {
    let said = doctor(&[], &["--set", "memory.ttl=2h", "--set", "ai.base_url=https://a.example"]).await;
    said.has("configuration", "FAIL", "must be at most redis.ttl", "docs/configuration.md");
    said.has("configuration", "FAIL", "ai.base_url", "");
    let said = doctor(&[], &["--listen", "0.0.0.0:0"]).await;
    said.has("configuration", "FAIL", "--insecure-allow-remote", "");

    let settings = [
        ("USERDATA__DATABASE__URL", "postgres://u:hunter2@127.0.0.1:9/d"),
        ("USERDATA__SOURCES__DATABASE_URL", "postgres://u:hunter2@127.0.0.1:9/d?password=hunter2"),
        ("USERDATA__REDIS__URL", "redis://u:hunter2@127.0.0.1:9"),
        ("USERDATA__AI__BASE_URL", "http://127.0.0.1:9/v1"),
        ("USERDATA__AI__MODEL", "m"),
        ("USERDATA__AI__API_KEY", "hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2"),
    ];
    let said = doctor(&settings, &PORTS).await;
    assert!(!said.text.contains("hunter2"), "{}", said.text);
    said.has("ai endpoint", "FAIL", "refused", "ai.base_url");
    said.has("collector", "WARN", "refused", "OTEL_EXPORTER_OTLP_ENDPOINT");
}

#[tokio::test]
async fn two_deployments_with_one_redis_prefix_are_told() {
    let redis = redis_with("--maxmemory 64mb --maxmemory-policy allkeys-lru").await;
    let url = redis.url();
    let mut places = Vec::new();
    // Of different users: documents of one would overwrite each other.
    for user in ["1", "2"] {
        let place = demo_database(Kind::Sqlite).await;
        // The demo's files are copies of one, with its epoch.
        let own = format!("UPDATE invalidation_log_head SET epoch = 'of {user}'");
        execute(&place.connect().await, &own).await;
        let server = serve(Settings::on(&place.url).with("redis.url", &url)).await;
        server.caller().await.get(user).await;
        places.push((place, server));
    }
    let said = async || doctor_of(&places[0].0, &[("USERDATA__REDIS__URL", url.as_str())]).await;
    let said =
        wait_for("documents of both", async || Some(said().await).filter(|said| said.text.contains("redis prefix")))
            .await;
    said.has("redis prefix", "WARN", "2 invalidation logs", "its own redis.prefix");
}

#[tokio::test]
async fn a_replica_of_the_sources_needs_its_primary() {
    let (primary, cache) = (own_postgres().await, database(Kind::Postgres).await);
    sources_in(TestDatabase::on(&primary, "postgres")).await;
    migrate_cache(&cache.url).await;
    let replica = primary.replica().await;
    let (url, primary) = (replica.url("postgres"), primary.url("postgres"));
    let settings = [("USERDATA__DATABASE__URL", cache.url.as_str()), ("USERDATA__SOURCES__DATABASE_URL", url.as_str())];
    let said = doctor(&settings, &PORTS).await;
    said.has("sources replica", "FAIL", "nothing is read from one", "sources.relay_database_url");
    let itself = ("USERDATA__SOURCES__RELAY_DATABASE_URL", url.as_str());
    let said = doctor(&[settings[0], settings[1], itself], &PORTS).await;
    said.has("sources replica", "FAIL", "or a replica, too", "sources.relay_database_url");
    let named = ("USERDATA__SOURCES__RELAY_DATABASE_URL", primary.as_str());
    let said = doctor(&[settings[0], settings[1], named], &PORTS).await;
    said.has("sources replica", "OK", "a load waits until it has", "");
}
