//! A standby is promoted while the old primary lives on, and later all instances are on the new one: what the old one has
//! acknowledged meanwhile outdates documents of the new one, too.
//!
//! The two primaries are two schemas of one database; a connection moves when its schema gets the other one's name.

use std::{sync::Arc, time::Duration};

use sea_orm::ConnectionTrait;
use tokio_util::task::TaskTracker;
use userdata::{
    cache::invalidation_log::{InvalidationLog, LogPools},
    clock::Clock,
    config::{self, Pooler},
    database::{Access, Options, Pool},
    model::{Invalidation, Parameters, Scope, SectionSet, UserDataQuery, UserHash, UserId},
};
use userdata_migrations::{Tables, up};

use testkit::{
    database::{Kind, TestDatabase, database},
    sources::count,
};

async fn pool(place: &TestDatabase, schemas: &str) -> Pool {
    let options = Options {
        access: Access::Log,
        application_name: "userdata-two".to_owned(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        pooler: Pooler::None,
    };
    Pool::open(&format!("{}?options[search_path]={schemas}", place.url), &options).await.unwrap()
}

async fn instance(place: &TestDatabase, schemas: &str) -> Arc<InvalidationLog> {
    Arc::new(InvalidationLog::new(
        LogPools { reads: pool(place, schemas).await, commits: pool(place, schemas).await },
        config::InvalidationLogSettings::default(),
        Duration::from_secs(5),
        Clock::system(),
        &TaskTracker::new(),
    ))
}

fn scope(user: &str) -> Scope<UserHash> {
    Scope { user: UserHash::of(&UserId::parse(user).unwrap()), strategy: None, sections: SectionSet::ALL }
}

fn is_outdated(log: &InvalidationLog, user: &str, read_position: i64) -> bool {
    let query = UserDataQuery::new(UserId::parse(user).unwrap(), None, Parameters::none());
    log.view(query.key()).last_invalidation() > read_position
}

const SPLIT: &str = "INSERT INTO b.invalidation_log SELECT * FROM a.invalidation_log;
    UPDATE b.invalidation_log_head SET (epoch, position, low_watermark) =
        (SELECT epoch, position, low_watermark FROM a.invalidation_log_head)";
const HEAL: &str = "ALTER SCHEMA a RENAME TO old; ALTER SCHEMA b RENAME TO a";

/// Both instances on the new primary.
struct Together {
    here: Arc<InvalidationLog>,
    there: Arc<InvalidationLog>,
    /// Of a document that was read on the new primary before the old one acknowledged anything more.
    read_position: i64,
    entries: i64,
    _place: TestDatabase,
}

/// Two entries are common. Then the old primary acknowledges `old` more of other users, and the last of them is of the
/// user "lost"; meanwhile a new epoch has begun on the new primary, after as many entries as `new` there.
async fn apart_and_together(old: usize, new: usize) -> Together {
    let place = database(Kind::Postgres).await;
    let admin = place.connect().await;
    admin.execute_unprepared("CREATE SCHEMA a; CREATE SCHEMA b").await.unwrap();
    for schema in ["a", "b"] {
        let alone = sea_orm::Database::connect(format!("{}?options[search_path]={schema}", place.url)).await.unwrap();
        up(&alone, Tables::Cache).await.unwrap();
    }
    // After the renaming the new primary is `a` to both.
    let (here, there) = (instance(&place, "a").await, instance(&place, "b,a").await);
    for user in ["1", "2"] {
        here.append(scope(user)).await.unwrap();
    }
    admin.execute_unprepared(SPLIT).await.unwrap();
    for _ in 0..new {
        there.append(scope("3")).await.unwrap();
    }
    let epoch = "UPDATE b.invalidation_log_head SET epoch = 'promoted', low_watermark = position";
    admin.execute_unprepared(epoch).await.unwrap();
    there.catch_up().await.unwrap();
    // A document that is read now is outdated by what the old primary acknowledges from now on.
    let read_position = there.position().position;
    if old > 1 {
        let others = (1..old).map(|user| Invalidation::Of(scope(&format!("n{user}")))).collect();
        here.append_all(others).await.unwrap();
    }
    here.append(scope("lost")).await.unwrap();

    admin.execute_unprepared(HEAL).await.unwrap();
    here.catch_up().await.unwrap();
    there.catch_up().await.unwrap();
    assert_eq!(here.position(), there.position());
    let entries = count(&admin, "SELECT COUNT(*) FROM a.invalidation_log").await;
    Together { here, there, read_position, entries, _place: place }
}

#[tokio::test]
async fn what_the_old_primary_acknowledged_is_appended_to_the_new_one() {
    for (old, new) in [(1, 0), (3, 1), (2, 9)] {
        let Together { here, there, read_position, entries, _place } = apart_and_together(old, new).await;
        for log in [&here, &there] {
            assert_eq!(&*log.position().epoch, "promoted", "{old} {new}");
            assert!(is_outdated(log, "lost", read_position), "{old} {new}");
            assert!(!is_outdated(log, "2", read_position), "{old} {new}: it is common");
        }
        assert_eq!(entries, i64::try_from(2 + new + old).unwrap(), "{old} {new}");
    }
}

#[tokio::test]
async fn of_very_many_a_new_epoch_is_made_once() {
    let Together { here, there, _place, .. } = apart_and_together(1200, 0).await;
    let epoch = here.position().epoch;
    assert_ne!(&*epoch, "promoted");
    for _ in 0..3 {
        here.catch_up().await.unwrap();
        there.catch_up().await.unwrap();
    }
    assert_eq!((here.position().epoch, there.position().epoch), (epoch.clone(), epoch));
}
