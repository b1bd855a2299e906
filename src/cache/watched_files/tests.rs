//! What counts as verified, and who is watched.

use std::{fs, path::PathBuf};

use super::*;
use crate::{config::SourcesSettings, user_files::UserFiles};

struct Fixture {
    directory: tempfile::TempDir,
    watched: Arc<WatchedFiles>,
    clock: Clock,
}

impl Fixture {
    fn new() -> Self {
        Self::with(1000)
    }

    fn with(users_max: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = format!("sqlite://{}/root/{{user}}.db", directory.path().display());
        for name in ["root", "copies"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let sources = SourcesSettings {
            file_copies_in: Some(directory.path().join("copies")),
            files_watched_max: users_max,
            database_url: Some(crate::config::Secret::new(place)),
            ..SourcesSettings::default()
        };
        let config = Config { sources, ..Config::default() };
        let clock = Clock::system();
        let files = UserFiles::open(&config.sources, config.sources.files().unwrap(), clock.clone()).unwrap();
        let watched = Arc::new(WatchedFiles::new(files, &config, clock.clone()));
        Self { directory, watched, clock }
    }

    fn write(&self, user: &str, content: &str) {
        fs::write(self.root().join(format!("{user}.db")), content).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn epoch(&self, user: &str) -> Arc<str> {
        self.watched.state(&id(user)).unwrap().epoch(&"log".into())
    }
}

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

#[tokio::test]
async fn a_state_is_verified_for_as_long_as_looks_find_it() {
    let fixture = Fixture::new();
    let (watched, clock, user) = (&fixture.watched, &fixture.clock, id("7"));
    fixture.write("7", "one");
    assert_eq!(watched.renewed_validity(&user).await, LogValidity::Verified);
    let (state, epoch) = (watched.state(&user).unwrap(), fixture.epoch("7"));
    // The poll and the lease.
    clock.advance(Duration::from_millis(700));
    assert_eq!(watched.validity(&state), LogValidity::Verified);
    clock.advance(Duration::from_millis(100));
    assert_eq!(watched.validity(&state), LogValidity::Unverified);
    watched.poll().await;
    assert_eq!((watched.validity(&state), fixture.epoch("7")), (LogValidity::Verified, epoch.clone()));

    fixture.write("7", "another");
    watched.poll().await;
    assert_ne!(fixture.epoch("7"), epoch);
    assert_eq!(watched.take_changed().len(), 1);
    assert_eq!(watched.levels().changes, 1);

    fs::remove_dir_all(fixture.root()).unwrap();
    watched.poll().await;
    clock.advance(Duration::from_secs(1));
    let state = watched.state(&user).unwrap();
    assert_eq!(watched.validity(&state), LogValidity::Unverified, "nothing is known any more");
    assert_eq!(watched.renewed_validity(&user).await, LogValidity::Unverified);
    clock.advance(Duration::from_secs(300));
    assert_eq!(watched.renewed_validity(&user).await, LogValidity::Expired);
    assert!(watched.levels().failures > 1);
}

#[tokio::test]
async fn a_late_look_does_not_bring_an_older_state_back() {
    let fixture = Fixture::new();
    fixture.write("7", "one");
    let early = fixture.watched.files.look(&id("7")).await.unwrap();
    fixture.write("7", "another");
    fixture.watched.look(&id("7")).await;
    let epoch = fixture.epoch("7");
    let late = fixture.watched.learn(&id("7"), &early);
    assert_eq!(fixture.epoch("7"), epoch);
    assert_ne!(late.epoch(&"log".into()), epoch, "what was read from it is outdated");
}

#[tokio::test]
async fn users_who_are_not_read_are_not_watched() {
    let fixture = Fixture::new();
    for user in ["1", "2"] {
        fixture.write(user, "x");
        fixture.watched.look(&id(user)).await;
    }
    fixture.clock.advance(Duration::from_secs(299));
    assert!(fixture.watched.state(&id("2")).is_some());
    fixture.clock.advance(Duration::from_secs(2));
    fixture.watched.poll().await;
    assert_eq!(fixture.watched.levels().users, 1);
    assert!(fixture.watched.state(&id("1")).is_none());
}

#[tokio::test]
async fn unknown_users_do_not_displace_those_who_have_a_file() {
    let fixture = Fixture::with(16);
    for user in 0..8 {
        fixture.write(&user.to_string(), "x");
        fixture.watched.look(&id(&user.to_string())).await;
    }
    for unknown in 0..100 {
        fixture.watched.look(&id(&format!("unknown{unknown}"))).await;
        assert!(fixture.watched.levels().users <= 16);
    }
    assert!((0..8).all(|user: i32| fixture.watched.state(&id(&user.to_string())).is_some()));
    // More users with a file than may be watched: the latest are.
    for user in 8..40 {
        fixture.write(&user.to_string(), "x");
        fixture.watched.look(&id(&user.to_string())).await;
        assert!(fixture.watched.levels().users <= 16);
    }
    assert!(fixture.watched.state(&id("39")).is_some() && fixture.watched.state(&id("0")).is_none());
}

#[test]
fn an_epoch_names_the_log_and_the_state() {
    let log: Arc<str> = "0b9e6f0c-epoch".into();
    assert_eq!(&*unknown_epoch(&log), "0b9e6f0c-epoch/?");
    assert_eq!(log_epoch(&unknown_epoch(&log)), log);
    assert_eq!(log_epoch(&log), log);
    assert_eq!(&*unknown_epoch(""), "", "no document belongs to a log that was never read");
}
