//! Settings, the rotation of the master key, and the doctor.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value as Json;

use super::*;
use crate::command_line::complaint;
use testkit::command::userdata_with;

const PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];

#[tokio::test]
async fn half_a_configuration_is_refused_and_names_the_missing_setting() {
    let file = ("USERDATA__PRIVACY__MASTER_KEY_FILE", "keys");
    let url = ("USERDATA__PRIVACY__KEYS_URL", "sqlite://keys.db?mode=rwc");
    let encrypt = ("USERDATA__PRIVACY__ENCRYPT", "true");
    let same = ("USERDATA__PRIVACY__KEYS_URL", "sqlite://./data/userdata.db?mode=rwc");
    for (environment, words) in [
        (vec![encrypt], ["privacy.encrypt (true", "privacy.keys_url (not set"]),
        (vec![encrypt, url], ["privacy.keys_url", "privacy.master_key_file (not set"]),
        (vec![file], ["privacy.master_key_file", "privacy.keys_url (not set"]),
        (vec![encrypt, same, file], ["privacy.keys_url", "must not be the database of database.url"]),
    ] {
        let ran = userdata_with(&["config", "check"], &environment).await;
        assert_eq!(ran.exit_code, 2, "{ran:?}");
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn config_check_reads_the_file_of_master_keys() {
    let keys = key_database(Kind::Sqlite).await;
    let file = keys.master_key_file();
    let settings = [
        ("USERDATA__PRIVACY__ENCRYPT", "true"),
        ("USERDATA__PRIVACY__KEYS_URL", keys.database.url.as_str()),
        ("USERDATA__PRIVACY__MASTER_KEY_FILE", file.as_str()),
    ];
    let check = async || userdata_with(&["config", "check"], &settings).await;
    assert_eq!(check().await.output(), "the configuration is valid\n");
    keys.write_masters(&["# newest first", "first not-base64"]);
    let line = complaint(&check().await, 78);
    assert!(line.contains(&file) && line.contains("line 2: the key is not base64"), "{line}");
    std::fs::remove_file(&file).unwrap();
    let line = complaint(&check().await, 78);
    assert!(line.contains("privacy.master_key_file cannot be read") && line.contains(&file), "{line}");
}

#[tokio::test]
async fn another_master_key_under_the_same_name_is_refused_at_the_start_and_named_by_the_doctor() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(kind).await);
        let server = serve(keys.encrypting(cluster.settings())).await;
        get(&server.client().await, of("1")).await.unwrap();
        wait_for("rows", async || (cluster.rows().await == 1).then_some(())).await;

        let file = keys.master_key_file();
        let settings = [
            ("USERDATA__DATABASE__URL", cluster.database().url.as_str()),
            ("USERDATA__PRIVACY__ENCRYPT", "true"),
            ("USERDATA__PRIVACY__KEYS_URL", keys.database.url.as_str()),
            ("USERDATA__PRIVACY__MASTER_KEY_FILE", file.as_str()),
            // However busy the machine is, the keys are examined at the start.
            ("USERDATA__PRIVACY__TIMEOUT", "20s"),
        ];
        let run = async |command: &[&str]| userdata_with(&[command, &PORTS].concat(), &settings).await;
        let right = keys.masters();
        keys.write_masters(&[&new_master_key("first").unwrap()]);
        let line = complaint(&run(&["serve"]).await, 78);
        assert!(line.contains("the master key first is another one"), "{kind:?}: {line}");
        let said = run(&["doctor"]).await;
        let named = format!("first of {file} is another key than the one that wraps 1 users' keys");
        assert!(said.exit_code == 1 && said.stdout.contains(&named), "{kind:?}: {said:?}");

        // It is not the one in use: what it wraps could not be read either.
        keys.write_masters(&[&new_master_key("second").unwrap(), &new_master_key("first").unwrap()]);
        let line = complaint(&run(&["serve"]).await, 78);
        assert!(line.contains("the master key first is another one"), "{kind:?}: {line}");

        keys.write_masters(&[&right]);
        let other = serve(keys.encrypting(cluster.settings())).await;
        let answer = get(&other.client().await, of("1")).await.unwrap();
        assert_eq!(answer.status, CacheStatus::HitDatabase, "{kind:?}: by the right one");
    }
}

/// One row that was changed costs its user only.
#[tokio::test]
async fn a_key_that_was_changed_does_not_keep_an_instance_from_starting() {
    let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(Kind::Sqlite).await);
    let server = serve(keys.encrypting(cluster.settings())).await;
    let client = server.client().await;
    for user in ["1", "2"] {
        get(&client, of(user)).await.unwrap();
    }
    wait_for("rows", async || (cluster.rows().await == 2).then_some(())).await;
    let changed = "UPDATE user_key SET key_id = '00000000000000000000000000000000' \
                   WHERE user_digest = (SELECT MIN(user_digest) FROM user_key)";
    keys.connection.execute_unprepared(changed).await.unwrap();
    let other = serve(keys.encrypting(cluster.settings())).await;
    let client = other.client().await;
    let origins = [get(&client, of("1")).await.unwrap().status, get(&client, of("2")).await.unwrap().status];
    assert!(origins.contains(&CacheStatus::HitDatabase) && origins.contains(&CacheStatus::Assembled), "{origins:?}");
}

#[tokio::test]
async fn keys_are_never_created_beside_what_they_encrypt() {
    let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(Kind::Sqlite).await);
    // Another name of the same database, which the configuration cannot know.
    let alias = cluster.database().url.replace("127.0.0.1", "localhost");
    let file = keys.master_key_file();
    let settings = [
        ("USERDATA__DATABASE__URL", cluster.database().url.as_str()),
        ("USERDATA__PRIVACY__KEYS_URL", alias.as_str()),
        ("USERDATA__PRIVACY__MASTER_KEY_FILE", file.as_str()),
    ];
    let ran = userdata_with(&["migrate", "up"], &settings).await;
    assert!(ran.exit_code == 9 && ran.stderr.contains("keys need a database of their own"), "{ran:?}");
    let ports_and_patience = [&PORTS[..], &["--set", "privacy.timeout=20s"]].concat();
    let line = complaint(&userdata_with(&[&["serve"], &ports_and_patience[..]].concat(), &settings).await, 78);
    assert!(line.contains("keys need a database of their own"), "{line}");
}

#[tokio::test]
async fn a_file_that_is_the_caches_by_another_path_is_no_key_database() {
    let keys = key_database(Kind::Sqlite).await;
    let file = keys.master_key_file();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("cache.db", at("keys.db")).unwrap();
    let url = |name: &str| format!("sqlite://{}?mode=rwc", at(name).display());
    let (cache, link) = (url("cache.db"), url("keys.db"));
    let settings = [
        ("USERDATA__DATABASE__URL", cache.as_str()),
        ("USERDATA__PRIVACY__KEYS_URL", link.as_str()),
        ("USERDATA__PRIVACY__MASTER_KEY_FILE", file.as_str()),
    ];
    for command in [&["config", "check"][..], &["serve"]] {
        let line = complaint(&userdata_with(&[command, &PORTS].concat(), &settings).await, 2);
        assert!(line.contains("must not be the database of database.url"), "{command:?}: {line}");
    }
    assert!(!at("cache.db").exists(), "nothing is created");
}

#[tokio::test]
async fn a_file_of_keys_is_created_for_its_owner_alone() {
    let (cluster, keys) = (with_users(Layout::Sqlite).await, key_database(Kind::Sqlite).await);
    let folder = tempfile::tempdir().unwrap();
    let modes = |name: &str| {
        let mode = |suffix: &str| {
            let file = std::fs::metadata(folder.path().join(format!("{name}{suffix}"))).unwrap();
            format!("{:o}", file.permissions().mode() & 0o777)
        };
        ["", "-wal", "-shm"].map(mode)
    };
    let url = |name: &str| format!("sqlite://{}?mode=rwc", folder.path().join(name).display());
    let server = serve(keys.encrypting(cluster.settings()).with("privacy.keys_url", url("a/keys.db"))).await;
    get(&server.client().await, of("1")).await.unwrap();
    assert_eq!(modes("a/keys.db"), ["600"; 3], "created by serve");

    let (file, created) = (keys.master_key_file(), url("b.db"));
    let settings =
        [("USERDATA__PRIVACY__KEYS_URL", created.as_str()), ("USERDATA__PRIVACY__MASTER_KEY_FILE", file.as_str())];
    assert_eq!(userdata_with(&["migrate", "up"], &settings).await.exit_code, 0);
    assert_eq!(std::fs::metadata(folder.path().join("b.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let doctor = async || userdata_with(&[&["doctor"][..], &PORTS].concat(), &settings).await.stdout;
    assert!(!doctor().await.contains("is open to all users"));
    std::fs::set_permissions(folder.path().join("b.db"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = doctor().await;
    assert!(said.contains("b.db is open to all users of this machine (644)"), "{said}");
}

#[tokio::test]
async fn the_master_key_is_replaced_while_instances_run() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(kind).await);
        let server = serve(keys.encrypting(cluster.settings())).await;
        get(&server.client().await, of("1")).await.unwrap();
        wait_for("rows", async || (cluster.rows().await == 1).then_some(())).await;

        let file = keys.master_key_file();
        let settings = [
            ("USERDATA__PRIVACY__KEYS_URL", keys.database.url.as_str()),
            ("USERDATA__PRIVACY__MASTER_KEY_FILE", &file),
        ];
        let new = userdata_with(&["keys", "new", "second"], &[]).await.output();
        let old = keys.masters();
        keys.write_masters(&[&new, &old]);
        let status = async || {
            let said = userdata_with(&["keys", "status", "-o", "json"], &settings).await.output();
            let rows: Vec<Json> = serde_json::from_str(&said).unwrap();
            let row = |row: &Json| format!("{} {} {}", row["master_key"], row["state"], row["keys"]).replace('"', "");
            rows.iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(status().await, ["second in use 0", "first unwraps only 1"], "{kind:?}");
        let rotated = userdata_with(&["keys", "rotate"], &settings).await.output();
        assert_eq!(rotated, "1 keys are now wrapped by second\n", "{kind:?}");
        assert_eq!(status().await, ["second in use 1", "first unwraps only 0"], "{kind:?}");

        keys.write_masters(&[&new]);
        let other = serve(keys.encrypting(cluster.settings())).await;
        let answer = get(&other.client().await, of("1")).await.unwrap();
        assert_eq!(answer.status, CacheStatus::HitDatabase, "{kind:?}: without the old master key");

        keys.write_masters(&[&old]);
        assert_eq!(status().await, ["first in use 0", "second missing 1"], "{kind:?}");
        let ran = userdata_with(&["keys", "rotate"], &settings).await;
        assert!(ran.exit_code == 9 && ran.stderr.contains("wrapped by the master key second"), "{ran:?}");
    }
}

#[tokio::test]
async fn the_doctor_uses_a_key_and_says_what_is_amiss() {
    let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(Kind::Postgres).await);
    let file = keys.master_key_file();
    let url = keys.database.url.clone();
    let doctor = async |url: &str| {
        let settings = [
            ("USERDATA__DATABASE__URL", cluster.database().url.as_str()),
            ("USERDATA__PRIVACY__ENCRYPT", "true"),
            ("USERDATA__PRIVACY__KEYS_URL", url),
            ("USERDATA__PRIVACY__MASTER_KEY_FILE", &file),
        ];
        let said = userdata_with(&[&["doctor", "-o", "json"][..], &PORTS].concat(), &settings).await.stdout;
        let said: Json = serde_json::from_str(&said).unwrap();
        let findings = said["findings"].as_array().unwrap().iter();
        let line = |of: &Json| format!("{} {}: {}", of["verdict"], of["check"], of["found"]).replace('"', "");
        findings.map(line).collect::<Vec<_>>()
    };
    let has = |said: &[String], words: &[&str]| {
        let found = said.iter().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?}: {said:#?}");
    };
    let said = doctor(&url).await;
    has(&said, &["OK encryption", "encrypted by a key for each user"]);
    has(&said, &["OK key database", "a key was made, read and deleted"]);
    has(&said, &["OK master keys", "is not open to all"]);
    has(&said, &["WARN key database", "on the server of the cache's database"]);
    assert_eq!(keys.ids().await.len(), 0, "the doctor's key is gone");

    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&file, open).unwrap();
    has(&doctor(&url).await, &["WARN master keys", "open to all users", "644"]);

    keys.connection.execute_unprepared("CREATE ROLE keys_reader LOGIN").await.unwrap();
    let granted = "GRANT SELECT ON user_key, userdata_key_migrations TO keys_reader";
    keys.connection.execute_unprepared(granted).await.unwrap();
    let reader = url.replacen("postgres@", "keys_reader@", 1);
    has(&doctor(&reader).await, &["FAIL key database", "could not be made"]);
    let revoked = "DROP OWNED BY keys_reader; DROP ROLE keys_reader";
    keys.connection.execute_unprepared(revoked).await.unwrap();
}
