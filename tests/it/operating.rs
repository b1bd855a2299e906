//! The commands of docs/operating.md, as they stand there: they work without anything else.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use testkit::{
    database::{Kind, database, demo_database},
    free_port,
    pki::{Authority, HOST},
    redis::redis_with,
};

/// What is typed, in order. The shell does not end at a command that must fail and does not: that has to be asked for.
fn commands(document: &str) -> Vec<String> {
    let typed = document.lines().filter_map(|line| line.strip_prefix("$ "));
    let checked = typed.map(|command| match command.strip_prefix("! ") {
        Some(refused) => format!("if {refused}; then exit 1; fi"),
        None => command.to_owned(),
    });
    checked.collect()
}

#[tokio::test]
async fn an_operator_gets_through_all_tasks_with_the_documents_commands() {
    let (cache, planning) = (database(Kind::Postgres).await, demo_database(Kind::Postgres).await);
    let keys = database(Kind::Postgres).await;
    let redis = redis_with("--maxmemory 64mb --maxmemory-policy allkeys-lru").await;
    let directory = tempfile::Builder::new().prefix("userdata-operating-").tempdir().unwrap();
    Authority::new(directory.path(), "internal").certify_server();
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md")).unwrap();
    let commands = commands(&document);
    assert!(commands.len() > 25, "{commands:#?}");
    let mut script = commands.join("\n");
    let replaced = [
        ("postgres://userdata@db/userdata", cache.url.clone()),
        ("postgres://owner@planning/app", planning.url.clone()),
        ("postgres://userdata@keys.internal/userdata_keys", keys.url.clone()),
        ("redis://cache:6379", redis.url()),
        ("userdata.internal", HOST.to_owned()),
        (":50052", format!(":{}", free_port())),
        (":9465", format!(":{}", free_port())),
    ];
    for (from, to) in replaced {
        assert!(script.contains(from), "{from}");
        script = script.replace(from, &to);
    }
    // The ports that are not named in the first task.
    let (port, probes) = (free_port(), free_port());
    script = script.replace(":50051", &format!(":{port}"));
    let script = format!(
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n\
         export USERDATA__SERVER__LISTEN=127.0.0.1:{port} USERDATA__METRICS__LISTEN=127.0.0.1:{probes}\n\
         userdata() {{\n\
           case \"$*\" in\n\
             serve*) exec \"$USERDATA\" \"$@\" ;;\n\
             *--addr*) \"$USERDATA\" \"$@\" ;;\n\
             get* | healthcheck*) \"$USERDATA\" \"$@\" --addr http://127.0.0.1:{port} ;;\n\
             *) \"$USERDATA\" \"$@\" ;;\n\
           esac\n\
         }}\n\
         set -x\n{script}\n"
    );
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "600", "bash", "-c", &script]);
    command.env("USERDATA", env!("CARGO_BIN_EXE_userdata")).current_dir(directory.path()).stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
}
