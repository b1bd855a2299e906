//! The invalidation log under load, in this process: several instances, many tasks, both databases.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use userdata::{
    cache::invalidation_log::{InvalidationLog, LogPools},
    clock::Clock,
    config,
    model::{Invalidation, Parameters, Scope, Section, SectionSet, StrategyId, UserDataQuery, UserHash, UserId},
};
use userdata_migrations::{Tables, up};

use testkit::{
    database::{BOTH, Kind, TestDatabase, database},
    sources::count,
};

const INSTANCES: usize = 2;
const TASKS: usize = 16;
const INVALIDATIONS_OF_A_TASK: usize = 12;

async fn instance(database: &TestDatabase, tasks: &TaskTracker) -> Arc<InvalidationLog> {
    let timeout = Duration::from_secs(10);
    Arc::new(InvalidationLog::new(
        LogPools { reads: database.connect().await.into(), commits: database.connect().await.into() },
        config::InvalidationLogSettings::default(),
        timeout,
        Clock::system(),
        tasks,
    ))
}

fn query(user: usize) -> UserDataQuery {
    UserDataQuery::new(UserId::parse(&user.to_string()).unwrap(), None, Parameters::none())
}

/// Of the user, or of one of its strategies.
fn scope(user: usize, strategy: usize) -> Scope<UserHash> {
    let strategy = StrategyId::new(strategy.try_into().unwrap());
    Scope { user: UserHash::of(&UserId::parse(&user.to_string()).unwrap()), strategy, sections: SectionSet::ALL }
}

/// Appends invalidations one after the other; each is in force here once it is acknowledged.
async fn append(log: Arc<InvalidationLog>, user: usize) -> Vec<i64> {
    let mut positions = Vec::new();
    for strategy in 0..INVALIDATIONS_OF_A_TASK {
        let appended = log.append(scope(user, strategy)).await.unwrap();
        assert!(log.view(query(user).key()).last_invalidation() >= appended.token.position);
        positions.push(appended.token.position);
    }
    assert!(positions.is_sorted(), "{positions:?}");
    positions
}

/// Looks until told to stop: neither the log's position nor a user's last invalidation ever goes back.
async fn watch(log: Arc<InvalidationLog>, stop: CancellationToken) {
    let keys: Vec<_> = (0..TASKS).map(|user| query(user).key().clone()).collect();
    let (mut applied, mut invalidated) = (0, vec![0; TASKS]);
    while !stop.is_cancelled() {
        log.catch_up().await.unwrap();
        let now = log.position().position;
        assert!(now >= applied, "{now} after {applied}");
        applied = now;
        for (key, before) in keys.iter().zip(&mut invalidated) {
            let now = log.view(key).last_invalidation();
            assert!(now >= *before, "{now} after {before}");
            *before = now;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_have_no_gap_and_no_reader_goes_back() {
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        up(&db, Tables::Cache).await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.push(instance(&database, &tasks).await);
        }
        let watchers: Vec<_> = instances.iter().map(|log| tasks.spawn(watch(log.clone(), stop.clone()))).collect();
        let writers: Vec<_> =
            (0..TASKS).map(|user| tasks.spawn(append(instances[user % INSTANCES].clone(), user))).collect();
        let mut positions = Vec::new();
        for writer in writers {
            positions.extend(writer.await.unwrap());
        }
        stop.cancel();
        for watcher in watchers {
            watcher.await.unwrap();
        }

        let appended = i64::try_from(TASKS * INVALIDATIONS_OF_A_TASK).unwrap();
        let all: BTreeSet<i64> = positions.iter().copied().collect();
        assert!(all.into_iter().eq(1..=appended), "{kind:?}: each position was given once: {positions:?}");
        let rows = format!("SELECT COUNT(*) FROM invalidation_log WHERE position BETWEEN 1 AND {appended}");
        assert_eq!(count(&db, &rows).await, appended, "{kind:?}");
        for log in instances {
            log.catch_up().await.unwrap();
            assert_eq!((log.position().position, log.stats().gaps), (appended, 0), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn invalidations_appended_at_once_share_commits() {
    const INVALIDATIONS: usize = 500;
    let database = database(Kind::Postgres).await;
    let db = database.connect().await;
    up(&db, Tables::Cache).await.unwrap();
    let log = instance(&database, &TaskTracker::new()).await;
    let appended = futures::future::join_all((0..INVALIDATIONS).map(|user| log.append(scope(user, 0)))).await;
    assert!(appended.iter().all(Result::is_ok));
    // Rows of one transaction carry its number.
    let commits = count(&db, "SELECT COUNT(DISTINCT CAST(xmin AS TEXT)) FROM invalidation_log").await;
    assert!(commits <= 20, "{INVALIDATIONS} invalidations took {commits} commits");
}

/// Of users and of everyone; so many as one statement of the planning application may change at once.
#[tokio::test]
async fn ten_thousand_entries_are_one_commit_and_take_less_than_a_second() {
    for kind in BOTH {
        // A busy machine may be slow some times.
        let mut took = Vec::new();
        while took.iter().all(|took| *took >= Duration::from_secs(1)) {
            assert!(took.len() < 5, "{kind:?}: {took:?}");
            took.push(ten_thousand_entries(kind).await);
        }
    }
}

/// How long the commit took.
async fn ten_thousand_entries(kind: Kind) -> Duration {
    const USERS: usize = 10_000;
    let database = database(kind).await;
    let db = database.connect().await;
    up(&db, Tables::Cache).await.unwrap();
    let tasks = TaskTracker::new();
    let (here, there) = (instance(&database, &tasks).await, instance(&database, &tasks).await);
    here.catch_up().await.unwrap();
    there.record_scopes();
    let gap = SectionSet::NONE.with(Section::GapAnalysis);
    let mut entries: Vec<Invalidation> = (0..USERS).map(|user| Invalidation::Of(scope(user, 1))).collect();
    entries.push(Invalidation::OfEveryone(gap));
    let began = tokio::time::Instant::now();
    let appended = here.append_all(entries).await.unwrap();
    let took = began.elapsed();
    there.catch_up().await.unwrap();
    let last = i64::try_from(USERS).unwrap() + 1;
    assert_eq!((appended.token.position, count(&db, "SELECT COUNT(*) FROM invalidation_log").await), (last, last));
    for log in [&here, &there] {
        let (of_user, of_another) = (log.view(query(USERS - 1).key()), log.view(query(USERS).key()));
        assert!(!of_user.is_valid(Section::Performance, last - 2) && of_another.is_valid(Section::Performance, 0));
        assert!(!of_user.is_valid(Section::GapAnalysis, last - 1), "{kind:?}");
        assert!(!of_another.is_valid(Section::GapAnalysis, last - 1), "{kind:?}");
    }
    assert_eq!(there.take_recorded_scopes().first(), Some(&scope(0, 1)), "{kind:?}");
    if kind == Kind::Postgres {
        let commits = count(&db, "SELECT COUNT(DISTINCT CAST(xmin AS TEXT)) FROM invalidation_log").await;
        assert_eq!(commits, 1);
    }
    took
}
