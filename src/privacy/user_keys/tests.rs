//! Keys against real databases: made once, deleted for good, out of reach.

use std::path::PathBuf;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use servers::postgres::{Postgres, own_postgres};
use tempfile::TempDir;
use userdata_migrations::{Tables, up};

use super::*;
use crate::{
    config::Pooler,
    database::{Access, Options, connect},
    privacy::{new_master_key, rotate, wrapped_keys},
};

/// A key database, and a folder for master keys.
struct Setup {
    connection: DatabaseConnection,
    folder: TempDir,
    _server: Option<Postgres>,
}

async fn setups() -> [Setup; 2] {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/keys.db?mode=rwc", folder.path().display());
    let options = Options {
        access: Access::ReadWrite,
        application_name: "test".to_owned(),
        max_connections: 4,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        pooler: Pooler::None,
    };
    let sqlite = Setup { connection: connect(&file, &options).await.unwrap(), folder, _server: None };
    let server = own_postgres().await;
    let connection = server.administer().await;
    let postgres = Setup { connection, folder: tempfile::tempdir().unwrap(), _server: Some(server) };
    for setup in [&sqlite, &postgres] {
        up(&setup.connection, Tables::Keys).await.unwrap();
    }
    [sqlite, postgres]
}

impl Setup {
    /// A file with these lines.
    fn file(&self, lines: &[&str]) -> PathBuf {
        let path = self.folder.path().join("master");
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    }

    async fn masters(&self, lines: &[&str]) -> MasterKeys {
        MasterKeys::read(&self.file(lines)).await.unwrap()
    }

    /// One more instance.
    async fn instance(&self, lines: &[&str], clock: &Clock) -> UserKeys {
        let config = PrivacySettings { timeout: Duration::from_secs(5), ..PrivacySettings::default() };
        UserKeys::new(self.connection.clone().into(), self.masters(lines).await, &config, clock.clone())
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn context(user: &UserId) -> ValueContext<'_> {
    ValueContext { place: "test", user, key: b"k", clear: b"" }
}

async fn encrypted(keys: &UserKeys, user: &UserId) -> Vec<u8> {
    let mut encrypted = Vec::new();
    keys.of(user).await.unwrap().encrypt(&context(user), b"a document", &mut encrypted);
    encrypted
}

async fn reads(keys: &UserKeys, user: &UserId, encrypted: &[u8]) -> bool {
    let read = keys.decrypt(&context(user), encrypted).await.unwrap();
    assert!(read.as_deref().is_none_or(|read| read == b"a document"));
    read.is_some()
}

#[tokio::test]
async fn instances_that_meet_a_user_at_the_same_time_make_one_key() {
    for setup in setups().await {
        let line = new_master_key("a").unwrap();
        let (one, two) =
            (setup.instance(&[&line], &Clock::system()).await, setup.instance(&[&line], &Clock::system()).await);
        for number in 0..20 {
            let user = user(&number.to_string());
            let (first, second) = tokio::join!(one.of(&user), two.of(&user));
            assert_eq!(first.unwrap().id, second.unwrap().id);
        }
        assert_eq!(one.counts().made + two.counts().made, 20);
        assert!(reads(&two, &user("1"), &encrypted(&one, &user("1")).await).await);
        assert!(!reads(&two, &user("2"), &encrypted(&one, &user("1")).await).await, "another user's value");
    }
}

#[tokio::test]
async fn a_deleted_key_reads_nothing_any_more_and_the_next_one_is_another() {
    for setup in setups().await {
        let (line, user, clock) = (new_master_key("a").unwrap(), user("1"), Clock::system());
        let (one, two) = (setup.instance(&[&line], &clock).await, setup.instance(&[&line], &clock).await);
        let before = encrypted(&one, &user).await;
        assert!(reads(&two, &user, &before).await);
        one.delete(&user).await.unwrap();
        one.delete(&user).await.expect("it may be repeated");
        assert_eq!((one.held(), one.counts().deleted), (0, 1));
        assert!(!reads(&one, &user, &before).await);
        assert!(reads(&two, &user, &before).await, "until it hears of the erasure");
        two.forget(UserHash::of(&user));
        assert!(!reads(&two, &user, &before).await);
        let after = encrypted(&two, &user).await;
        assert!(reads(&one, &user, &after).await && !reads(&one, &user, &before).await);
        assert!(one.counts().unreadable >= 2);
    }
}

/// An instance that has not applied the erasure meets a value by the user's next key.
#[tokio::test]
async fn a_value_by_another_key_than_the_held_one_has_the_key_read_again() {
    let [setup, _] = setups().await;
    let (line, user, clock) = (new_master_key("a").unwrap(), user("1"), Clock::system());
    let (one, two) = (setup.instance(&[&line], &clock).await, setup.instance(&[&line], &clock).await);
    encrypted(&two, &user).await;
    one.delete(&user).await.unwrap();
    let newer = encrypted(&one, &user).await;
    clock.advance(READ_AGAIN_AFTER);
    assert!(reads(&two, &user, &newer).await);
}

#[tokio::test]
async fn a_key_database_out_of_reach_is_an_error_until_a_probe_succeeds() {
    for setup in setups().await {
        let (line, user, clock) = (new_master_key("a").unwrap(), user("1"), Clock::system());
        let keys = setup.instance(&[&line], &clock).await;
        let value = encrypted(&keys, &user).await;
        setup.connection.execute_unprepared("ALTER TABLE user_key RENAME TO gone").await.unwrap();
        assert!(reads(&keys, &user, &value).await, "by the key in memory");
        keys.forget_all();
        for _ in 0..FAILURES_MAX {
            assert!(matches!(keys.decrypt(&context(&user), &value).await, Err(KeyError::Database(_))));
        }
        assert!(matches!(keys.of(&user).await, Err(KeyError::Open)) && keys.state() == "open");
        assert!(matches!(keys.delete(&user).await, Err(KeyError::Database(_))), "an erasure is attempted");
        setup.connection.execute_unprepared("ALTER TABLE gone RENAME TO user_key").await.unwrap();
        clock.advance(PAUSE);
        keys.probe().await;
        assert!(reads(&keys, &user, &value).await && keys.state() == "closed");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_unwrapped_is_neither_used_nor_replaced() {
    let [setup, _] = setups().await;
    let (mine, others) = (new_master_key("a").unwrap(), new_master_key("b").unwrap());
    let (user, clock) = (user("1"), Clock::system());
    let value = encrypted(&setup.instance(&[&mine], &clock).await, &user).await;
    let keys = setup.instance(&[&others], &clock).await;
    assert!(matches!(keys.of(&user).await, Err(KeyError::NoMasterKey(name)) if name == "a"));
    assert!(matches!(keys.decrypt(&context(&user), &value).await, Err(KeyError::NoMasterKey(_))));
    assert_eq!((keys.counts().made, keys.counts().failed, keys.state()), (0, 2, "closed"));
    assert!(reads(&setup.instance(&[&mine], &clock).await, &user, &value).await);
}

#[tokio::test]
async fn a_master_key_is_replaced_and_every_value_is_still_read() {
    for setup in setups().await {
        let (old, new) = (new_master_key("old").unwrap(), new_master_key("new").unwrap());
        let clock = Clock::system();
        let before = setup.instance(&[&old], &clock).await;
        let users: Vec<_> = (0..3).map(|number| user(&number.to_string())).collect();
        let mut values = Vec::new();
        for user in &users {
            values.push(encrypted(&before, user).await);
        }
        let pool: Pool = setup.connection.clone().into();
        let both = setup.masters(&[&new, &old]).await;
        assert_eq!(rotate(&pool, &both).await.unwrap().wrapped, 3);
        assert_eq!(rotate(&pool, &both).await.unwrap().wrapped, 0, "it may be repeated");
        let wrapped = wrapped_keys(&pool).await.unwrap();
        assert_eq!((wrapped.len(), wrapped[0].master.as_str(), wrapped[0].keys), (1, "new", 3));
        let after = setup.instance(&[&new], &clock).await;
        for (user, value) in users.iter().zip(&values) {
            assert!(reads(&after, user, value).await);
        }
        let without = setup.masters(&[&new_master_key("third").unwrap()]).await;
        let failed = rotate(&pool, &without).await.unwrap();
        assert_eq!((failed.wrapped, failed.failed), (0, 3));
        assert!(failed.last_failure.unwrap().contains("new"));
    }
}

#[tokio::test]
async fn a_deleted_key_is_gone_from_the_file_too() {
    let [setup, _] = setups().await;
    let (line, user) = (new_master_key("a").unwrap(), user("1"));
    let keys = setup.instance(&[&line], &Clock::system()).await;
    let id = keys.of(&user).await.unwrap().id.to_hex();
    let in_files = || {
        let names = ["keys.db", "keys.db-wal"].map(|name| setup.folder.path().join(name));
        let bytes: Vec<u8> = names.into_iter().flat_map(|name| std::fs::read(name).unwrap_or_default()).collect();
        bytes.windows(id.len()).any(|window| window == id.as_bytes())
    };
    assert!(in_files());
    keys.delete(&user).await.unwrap();
    assert!(!in_files());
}
