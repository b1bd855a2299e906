//! The commands that change a database: each says what it did, and can be repeated.

use sea_orm::ConnectionTrait;
use serde_json::Value as Json;

use super::{complaint, has_line};
use testkit::{
    RefusingPort,
    command::userdata,
    database::{BOTH, Kind, database},
    demo::DEMO_AS_OF,
};

#[tokio::test]
async fn two_processes_that_migrate_at_once_apply_each_migration_once() {
    for kind in BOTH {
        let database = database(kind).await;
        let up = ["migrate", "up", "--database-url", &database.url];
        let (one, two) = tokio::join!(userdata(&up), userdata(&up));
        let (one, two) = (one.output(), two.output());
        let all = format!("{one}{two}");
        let ours = if kind == Kind::Sqlite { 2 } else { 1 };
        assert_eq!(all.lines().filter(|line| line.starts_with("applied ")).count(), ours, "{kind:?}: {all}");
        assert!(has_line(&all, &["nothing to apply: the tables are up to date"]), "{kind:?}: {all}");
        assert_eq!(all.lines().count(), ours + 1, "{kind:?}: {all}");

        let status = userdata(&["migrate", "status", "--database-url", &database.url]).await.output();
        assert!(has_line(&status, &["m0001_initial", "applied"]), "{status}");
        let down = userdata(&["migrate", "down", "--steps", "99", "--database-url", &database.url]).await.output();
        assert!(down.lines().all(|line| line.starts_with("taken back ")) && down.lines().count() == ours, "{down}");
        let status = ["migrate", "status", "-o", "json", "--database-url", &database.url];
        let status: Json = serde_json::from_str(&userdata(&status).await.output()).unwrap();
        let applied: Vec<_> = status.as_array().unwrap().iter().map(|row| &row["applied"]).collect();
        assert!(applied.len() == ours && applied.iter().all(|applied| **applied == false), "{status}");
    }
}

#[tokio::test]
async fn the_demo_is_written_once() {
    for kind in BOTH {
        let database = database(kind).await;
        let seed = ["demo", "seed", "--demo-as-of", DEMO_AS_OF, "--database-url", &database.url];
        let first = userdata(&seed).await.output();
        assert!(first.starts_with("wrote 33 users in ") && first.ends_with(", dated from 2025-09-01\n"), "{first}");
        let second = userdata(&seed).await.output();
        assert_eq!(second, "the sources hold users already: nothing was written\n", "{kind:?}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_ours_is_refused_in_words() {
    for kind in BOTH {
        let database = database(kind).await;
        let foreign = "CREATE TABLE comprehensive_user_data_cache (id INTEGER PRIMARY KEY)";
        database.connect().await.execute_unprepared(foreign).await.unwrap();
        let line = complaint(&userdata(&["migrate", "up", "--database-url", &database.url]).await, 9);
        assert!(line.contains("is not ours") && line.contains("use another database or schema"), "{line}");
    }
}

#[tokio::test]
async fn tables_from_before_the_first_release_are_refused_by_every_command_that_needs_them() {
    for kind in BOTH {
        let database = database(kind).await;
        database.connect().await.execute_unprepared("CREATE TABLE fence_head (id INTEGER)").await.unwrap();
        let url = ["--database-url", &database.url];
        let serve = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
        let patient = ["--set", "database.timeout=20s"];
        for (command, code) in [(&["migrate", "up"][..], 9), (&["migrate", "status"], 9), (&serve, 1)] {
            let line = complaint(&userdata(&[command, &url, &patient].concat()).await, code);
            assert!(line.contains("before 0.1.0 (found fence_head)"), "{kind:?} {command:?}: {line}");
            assert!(line.contains("use an empty database"), "{kind:?} {command:?}: {line}");
        }
        let doctor = userdata(&[&["doctor"][..], &url].concat()).await;
        assert_eq!(doctor.exit_code, 1, "{doctor:?}");
        assert!(doctor.stdout.contains("before 0.1.0 (found fence_head)"), "{kind:?}: {}", doctor.stdout);
    }
}

#[tokio::test]
async fn a_database_out_of_reach_is_named_without_its_password() {
    let nobody = RefusingPort::bound();
    let place = format!("{}/app", nobody.address());
    let url = format!("postgres://me:hunter2@{place}?password=hunter2");
    let patience = ["--set", "sources.hard_timeout=1s"];
    for command in [&["migrate", "up"][..], &["migrate", "status"], &["demo", "seed"]] {
        let ran = userdata(&[command, &["--database-url", &url], &patience].concat()).await;
        let line = complaint(&ran, 14);
        assert!(line.contains(&format!("postgres://{place}: ")), "{command:?}: {line}");
        assert!(!line.contains("hunter2"), "{command:?}: {line}");
    }
}
