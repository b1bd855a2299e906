//! PgBouncer under which settings do not take effect.

use serde_json::Value as Json;

use testkit::{
    command::{Ran, userdata_with},
    database::migrate_cache,
    proxy::{Network, Proxy},
    server::{Settings, launch},
    wait_for,
};

use super::{TRANSACTION, behind};

const PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];

/// What many pages advise against "unsupported startup parameter".
const DROPS: &str = "ignore_startup_parameters = extra_float_digits, options";

async fn run(command: &str, url: &str, pooler: &str) -> Ran {
    let environment = [
        ("USERDATA__DATABASE__URL", url),
        ("USERDATA__DATABASE__POOLER", pooler),
        // However busy the machine is, there is an answer.
        ("USERDATA__DATABASE__TIMEOUT", "20s"),
    ];
    let more: &[&str] = match command {
        "doctor" => &["-o", "json"],
        "serve" => &[],
        _ => return userdata_with(&[command, "up"], &environment).await,
    };
    userdata_with(&[&[command][..], &PORTS, more].concat(), &environment).await
}

/// `serve` ends, `migrate` does nothing, and `doctor` says the same.
async fn is_refused(url: &str, pooler: &str, why: &str, remedy: &str) {
    let ran = run("serve", url, pooler).await;
    assert_eq!(ran.exit_code, 78, "{ran:?}");
    assert!(ran.stderr.contains("database.url") && ran.stderr.contains(why) && ran.stderr.contains(remedy), "{ran:?}");
    let ran = run("migrate", url, pooler).await;
    assert_eq!(ran.exit_code, 9, "FAILED_PRECONDITION: {ran:?}");
    let ran = run("doctor", url, pooler).await;
    let findings: Json = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let finding = findings["findings"].as_array().unwrap().iter().find(|of| of["check"] == "cache database").unwrap();
    let (found, advice) = (finding["found"].as_str().unwrap(), finding["remedy"].as_str().unwrap());
    assert!(finding["verdict"] == "FAIL" && found.contains(why) && advice.contains(remedy), "{finding}");
}

#[tokio::test]
async fn a_pooler_that_refuses_settings_is_named_with_what_to_do() {
    let (_database, _pooler, url) = behind(&[TRANSACTION]).await;
    let why = "refuses the settings of a connection: unsupported startup parameter: ";
    is_refused(&url, "none", why, "set database.pooler = \"transaction\"").await;
}

#[tokio::test]
async fn a_pooler_that_drops_settings_is_named_with_what_to_do() {
    let (_database, _pooler, url) = behind(&[TRANSACTION, DROPS]).await;
    let why = "drops the settings of a connection: statement_timeout is 0, not ";
    is_refused(&url, "none", why, "set database.pooler = \"transaction\"").await;
}

#[tokio::test]
async fn a_pooler_that_keeps_no_connection_for_a_transaction_is_named_with_what_to_do() {
    let (_database, _pooler, url) = behind(&["pool_mode = statement"]).await;
    is_refused(&url, "transaction", "does not keep a connection for a transaction", "pool_mode = transaction").await;
}

#[tokio::test]
async fn a_pooler_that_comes_between_later_gets_no_statement() {
    let (database, pooler, url) = behind(&[TRANSACTION, DROPS]).await;
    migrate_cache(&database.url).await;
    let line = Proxy::before(pooler.port).await;
    line.set(Network::Refuse);
    let server = launch(Settings::on(&line.url(&url))).await;
    wait_for("the database to be missed", async || server.log().contains("not serving").then_some(())).await;
    line.restore();
    wait_for("the pooler to be named", async || {
        server.log().contains("drops the settings of a connection").then_some(())
    })
    .await;
    assert_eq!(server.probe("/readyz").await.0, 503);
}

#[tokio::test]
async fn doctor_finds_nothing_amiss_behind_a_pooler() {
    let (database, _pooler, url) = behind(&[TRANSACTION]).await;
    testkit::database::seed(&database.url).await;
    let ran = run("doctor", &url, "transaction").await;
    assert_eq!(ran.exit_code, 0, "{ran:?}");
    for check in ["cache database", "migrations", "cache tables", "invalidation log", "sources tables"] {
        assert!(ran.stdout.contains(&format!("\"check\":\"{check}\"")), "{check}: {ran:?}");
    }
}
