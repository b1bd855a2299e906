//! Settings, the rotation of the master key, and the doctor.

use serde_json::Value as Json;

use super::*;
use testkit::command::userdata_with;

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
    userdata_with(&["config", "check"], &[encrypt, url, file]).await.output();
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
        let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
        let said = userdata_with(&[&["doctor", "-o", "json"][..], &ports].concat(), &settings).await.stdout;
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

    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
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
