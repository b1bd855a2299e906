//! `userdata top` against a real server: in a terminal that it gives back as it was, and without one.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value as Json;

use super::complaint;
use testkit::{
    RefusingPort,
    command::userdata,
    database::{Kind, demo_database},
    log_of,
    server::{Settings, serve},
    wait_for,
};

#[tokio::test]
async fn figures_of_an_interval_are_printed_where_there_is_no_terminal() {
    let database = demo_database(Kind::Postgres).await;
    let server = serve(Settings::on(&database.url)).await;
    let addr = format!("http://{}", server.address);
    server.caller().await.get("1").await;
    let printed = userdata(&["top", "--once", "--interval", "100ms", "--addr", &addr]).await.output();
    for part in [&addr, "SERVING", "requests  0.0/s", "memory ", "onboarding ", "log       at 0", "AI calls  0.0/s"] {
        assert!(printed.contains(part), "{part}:\n{printed}");
    }
    // Also while the database is not there: it is not asked.
    database.shut().await;
    let json = userdata(&["top", "--once", "-o", "json", "--interval", "100ms", "--addr", &addr]).await.output();
    let json: Json = serde_json::from_str(&json).unwrap();
    let answers = |status: &str| {
        let of = json["answers"].as_array().unwrap().iter().find(|of| of["status"] == status);
        of.unwrap_or_else(|| panic!("{status}: {json}"))["answers"].clone()
    };
    assert_eq!(answers("CACHE_STATUS_ASSEMBLED"), "1");
    assert_eq!(answers("CACHE_STATUS_HIT_MEMORY"), "0");
    assert_eq!(json["tiers"][0]["evictions"], "0");
    database.open().await;

    let nobody = RefusingPort::bound();
    let gone = format!("http://{}", nobody.address());
    let line = complaint(&userdata(&["top", "--once", "--addr", &gone]).await, 14);
    assert!(line.contains("cannot connect"), "{line}");
    let line = userdata(&["top", "--interval", "1ms"]).await;
    assert!(line.exit_code == 2 && line.stderr.contains("at least 100ms"), "{line:?}");
}

#[tokio::test]
async fn a_terminal_is_given_back_as_it_was_and_a_server_that_is_gone_is_told() {
    let database = demo_database(Kind::Sqlite).await;
    let mut server = serve(Settings::on(&database.url)).await;
    let directory = tempfile::tempdir().unwrap();
    let seen = directory.path().join("seen");
    // `stty -g` before and after is what the terminal is like.
    let top = format!("{} top --interval 100ms --addr http://{}", env!("CARGO_BIN_EXE_userdata"), server.address);
    let session = format!("stty rows 24 cols 80; stty -g; {top}; echo ended $?; stty -g");
    let mut command = Command::new("timeout");
    // Nothing may outlive its test.
    command.args(["--kill-after=5", "120", "script", "-qefc", &session]).arg(&seen);
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let shown = |what: &'static str| {
        let seen = seen.clone();
        async move { wait_for(what, async || log_of(&seen).contains(what).then_some(())).await }
    };
    shown("SERVING").await;
    shown("staleness").await;
    server.kill().await;
    shown("NOT ANSWERING").await;
    script.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    let ended = wait_for("the session to end", async || script.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");

    let seen = log_of(&seen);
    let (before, drawn) = seen.split_once("\u{1b}[?1049h").expect("another screen");
    let (_, after) = drawn.rsplit_once("\u{1b}[?1049l").expect("and back");
    assert!(after.contains("ended 0"), "{after}");
    let modes = |text: &str| text.lines().map(str::trim).find(|line| line.matches(':').count() > 10).map(str::to_owned);
    let (mode_before, mode_after) = (modes(before), modes(after));
    assert!(mode_before.is_some() && mode_before == mode_after, "{before}\n{after}");
    assert_eq!(drawn.matches("\u{1b}[?25h").count(), 1, "the cursor is shown again");
}
