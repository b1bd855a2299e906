//! The invalidation log on two instances: what is acknowledged is applied, what is valid is recent enough,
//! and what the database lost is noticed.

use std::{sync::Arc, time::Duration};

use shuttle::future::{JoinHandle, spawn};
use userdata::{
    cache::invalidation_log::{InvalidationLog, InvalidationLogError, LogValidity},
    clock::Clock,
    database::in_memory::{Flaw, MemoryDatabase, Weather},
    sync::shuttled::{chance, task::TaskTracker, time},
};
use userdata::{
    config,
    model::{CacheKey, Invalidation, Parameters, Scope, SectionSet, Token, UserDataQuery, UserHash, UserId},
};

use crate::explore::{Pace, all, explore, repeat, violation};

const SCHEDULES: usize = 4000;
const HASTY: Pace = Pace::Hasty(8);
/// For one reading of the log, as in the product.
const TIMEOUT: Duration = Duration::from_millis(200);
const CALM: Weather = Weather { slow: 0, lost: 0, transient: 0, way_max: Duration::ZERO };
/// Every third statement travels for up to 300 ms each way: longer than its asker waits.
const STORM: Weather = Weather { slow: 3, lost: 10, transient: 5, way_max: Duration::from_millis(300) };

/// Instances over one log.
#[derive(Clone)]
struct Cluster {
    database: MemoryDatabase,
    instances: [Arc<InvalidationLog>; 2],
    config: config::InvalidationLogSettings,
}

impl Cluster {
    /// Instances that have read the log; how it is wrong as they see it.
    async fn started(weather: Weather, flaws: [Option<Flaw>; 2]) -> Self {
        let config = config::InvalidationLogSettings::default();
        let database = MemoryDatabase::new(config.lease, weather);
        let instances = flaws.map(|flaw| {
            let (seen, tasks) = (database.clone().with(flaw), TaskTracker::new());
            Arc::new(InvalidationLog::over(seen, config.clone(), TIMEOUT, Clock::system(), &tasks))
        });
        for log in &instances {
            while log.catch_up().await.is_err() {}
        }
        Self { database, instances, config }
    }

    /// Lets an instance read the log periodically.
    fn poll(&self, instance: usize) {
        let (log, poll) = (Arc::clone(&self.instances[instance]), self.config.poll);
        drop(spawn(async move {
            loop {
                let _ = log.catch_up().await;
                time::sleep(poll).await;
            }
        }));
    }

    /// Invalidates a user at an instance, some time or other. An acknowledged invalidation has to be applied there.
    fn append(&self, instance: usize, user: usize) -> JoinHandle<Result<Token, InvalidationLogError>> {
        let log = Arc::clone(&self.instances[instance]);
        spawn(async move {
            let appended = log.append(scope(user)).await?;
            let (token, view) = (appended.token, log.view(&key(user)));
            assert!(
                view.epoch != token.epoch
                    || (view.applied >= token.position && view.last_invalidation() >= token.position),
                "invalidation {token} is acknowledged, but not applied: {view:?}"
            );
            Ok(token)
        })
    }

    /// An instance knows the invalidations of a user that were durable at `at`.
    fn assert_covers(&self, log: &InvalidationLog, user: usize, at: Duration, whose: &str) {
        let view = log.view(&key(user));
        let durable = self.database.at_once(|tables| {
            let of_user = tables.history.iter().filter(|commit| commit.invalidation == of(user) && commit.at <= at);
            of_user.filter(|commit| commit.epoch == view.epoch).map(|commit| commit.position).max()
        });
        assert!(
            durable.is_none_or(|position| view.last_invalidation() >= position),
            "{whose}: invalidation {durable:?} is not known: {view:?}"
        );
    }
}

fn scope(user: usize) -> Scope<UserHash> {
    Scope { user: UserHash::of(&UserId::parse(&user.to_string()).unwrap()), strategy: None, sections: SectionSet::ALL }
}

fn of(user: usize) -> Invalidation {
    Invalidation::Of(scope(user))
}

fn key(user: usize) -> CacheKey {
    UserDataQuery::new(UserId::parse(&user.to_string()).unwrap(), None, Parameters::none()).key().clone()
}

/// Both instances append invalidations at once.
async fn appending(weather: Weather, flaw: Option<Flaw>) {
    let cluster = Cluster::started(weather, [flaw; 2]).await;
    let appends: Vec<_> = (0..4).map(|user| cluster.append(user % 2, user)).collect();
    let mut acknowledged = Vec::new();
    for (user, appended) in all(appends).await.into_iter().enumerate() {
        let Ok(token) = appended else { continue };
        let there = cluster.database.at_once(|tables| tables.log[&token.position].invalidation.clone());
        assert_eq!(there, of(user), "another invalidation stands at {token}");
        acknowledged.push(token.position);
    }
    assert!(weather.slow > 0 || acknowledged.len() == 4, "in calm weather every invalidation is acknowledged");
    let gapless = cluster.database.at_once(|tables| tables.log.keys().copied().eq(1..=tables.head.position));
    assert!(gapless, "the log has gaps");
}

#[test]
fn an_invalidation_is_applied_here_and_has_a_place_of_its_own_before_it_is_acknowledged() {
    explore(SCHEDULES, HASTY, || appending(CALM, None));
}

#[test]
fn no_other_invalidation_is_acknowledged_when_statements_are_late_and_lost() {
    explore(SCHEDULES, HASTY, || appending(STORM, None));
}

#[test]
fn it_is_noticed_when_two_commits_get_the_same_place() {
    let found = violation(SCHEDULES, HASTY, || appending(CALM, Some(Flaw::LostUpdates)));
    assert!(
        ["another invalidation", "not applied", "every invalidation is acknowledged"]
            .iter()
            .any(|text| found.contains(text)),
        "{found}"
    );
}

/// One instance appends invalidations, the other one reads and answers; now and then all machines are suspended.
async fn trusting(flaw: Option<Flaw>) {
    let cluster = Cluster::started(STORM, [None, flaw]).await;
    cluster.poll(1);
    let (reading, log) = (cluster.clone(), Arc::clone(&cluster.instances[1]));
    let reader = spawn(async move {
        for _ in 0..8 {
            time::sleep(reading.config.poll.mul_f64(chance::random())).await;
            let arrived = time::now();
            let validity = if chance::once_in(2) { log.validity() } else { log.renewed_validity().await };
            if validity == LogValidity::Verified {
                reading.assert_covers(&log, 1, arrived - reading.config.lease, "a verified answer");
            }
        }
    });
    for _ in 0..3 {
        time::sleep(cluster.config.poll.mul_f64(chance::random())).await;
        let _ = cluster.append(0, 1).await;
        if chance::once_in(4) {
            time::advance(cluster.config.lease);
        }
    }
    reader.await.unwrap();
}

#[test]
fn a_verified_answer_lacks_no_invalidation_that_is_older_than_the_lease() {
    explore(SCHEDULES, HASTY, || trusting(None));
}

#[test]
fn it_is_noticed_when_the_log_is_read_as_it_was_a_second_ago() {
    let found = violation(SCHEDULES, HASTY, || trusting(Some(Flaw::OldReads)));
    assert!(found.contains("a verified answer"), "{found}");
}

/// Callers of one instance who want to know all there is, while the other one appends invalidations.
async fn catching_up(flaw: Option<Flaw>) {
    let cluster = Cluster::started(Weather { lost: 0, ..STORM }, [None, flaw]).await;
    let callers = (0..3).map(|_| {
        let (cluster, log) = (cluster.clone(), Arc::clone(&cluster.instances[1]));
        spawn(async move {
            for _ in 0..2 {
                let head = cluster.database.at_once(|tables| tables.head.position);
                if log.catch_up().await.is_ok() {
                    assert!(log.position().position >= head, "a reading of before it was asked for was shared");
                }
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..3 {
        let _ = cluster.append(0, 1).await;
    }
    all(callers).await;
}

#[test]
fn a_caller_shares_no_reading_of_the_log_that_was_sent_before_he_asked() {
    explore(SCHEDULES, HASTY, || catching_up(None));
}

#[test]
fn it_is_noticed_when_a_reading_is_older_than_its_asking() {
    let found = violation(SCHEDULES, HASTY, || catching_up(Some(Flaw::OldReads)));
    assert!(found.contains("of before it was asked for"), "{found}");
}

/// One looks at an instance's copy all the time, while rows are applied.
async fn viewing(flaw: Option<Flaw>) {
    let cluster = Cluster::started(CALM, [flaw; 2]).await;
    cluster.poll(1);
    let appends: Vec<_> = (0..4).map(|append| cluster.append(append % 2, 1 + append / 2)).collect();
    for _ in 0..10 {
        for user in [1, 2] {
            let view = cluster.instances[1].view(&key(user));
            let applied = cluster.database.at_once(|tables| {
                let of_user = tables.history.iter().filter(|commit| commit.invalidation == of(user));
                of_user.map(|commit| commit.position).filter(|position| *position <= view.applied).max()
            });
            assert!(
                applied.is_none_or(|position| view.last_invalidation() >= position),
                "{applied:?} counts as applied, but is not: {view:?}"
            );
        }
        time::sleep(cluster.config.poll / 2).await;
    }
    all(appends).await;
}

#[test]
fn no_position_is_seen_without_its_invalidations() {
    explore(SCHEDULES, HASTY, || viewing(None));
}

#[test]
fn it_is_noticed_when_a_row_is_replaced_by_another() {
    let found = violation(SCHEDULES, HASTY, || viewing(Some(Flaw::LostUpdates)));
    assert!(found.contains("is not"), "{found}");
}

/// An instance that is notified of a position has applied it afterwards. After a wait for all, every instance has.
async fn telling(flaw: Option<Flaw>) {
    let cluster = Cluster::started(STORM, [None, flaw]).await;
    cluster.poll(1);
    let there = Arc::clone(&cluster.instances[1]);
    let Ok(appended) = cluster.instances[0].append(scope(1)).await else { return };
    let notifications = [appended.token.clone()].into_iter();
    if chance::once_in(2) && there.catch_up_if_behind(notifications).await.is_ok() {
        assert!(there.view(&key(1)).last_invalidation() >= appended.token.position, "a notification was not heard");
    }
    cluster.instances[0].wait_for_all(&appended).await;
    if there.validity() == LogValidity::Verified {
        assert!(
            there.view(&key(1)).last_invalidation() >= appended.token.position,
            "an older answer is verified after all waited"
        );
    }
}

#[test]
fn who_waited_for_all_and_who_gave_a_notification_is_known_to_the_others() {
    explore(SCHEDULES, HASTY, || telling(None));
}

#[test]
fn it_is_noticed_when_others_do_not_know_after_all_waited() {
    let found = violation(SCHEDULES, HASTY, || telling(Some(Flaw::OldReads)));
    assert!(found.contains("a notification was not heard") || found.contains("after all waited"), "{found}");
}

/// The database loses its last commits while invalidations are appended, and gives their places to others.
async fn losing(flaw: Option<Flaw>) {
    let cluster = Cluster::started(CALM, [flaw; 2]).await;
    for _ in 0..2 {
        cluster.append(0, 1).await.unwrap().unwrap();
    }
    let before = cluster.instances[0].position();
    let appends: Vec<_> = (0..4).map(|append| cluster.append(append % 2, 1 + append % 2)).collect();
    if chance::once_in(2) {
        time::sleep(cluster.config.poll).await;
    }
    let kept = chance::below(2).cast_signed();
    cluster.database.at_once(|tables| tables.lose_commits_after(kept));
    // Refilled or not, who had applied more than was kept has to notice.
    // One that appends what the log lacks may take longer than a reading may.
    while cluster.instances[0].catch_up().await.is_err() {}
    let after = cluster.instances[0].position();
    assert_ne!(after.epoch, before.epoch, "lost commits went unnoticed");
    all(appends).await;
}

#[test]
fn lost_commits_begin_a_new_epoch_and_nothing_is_acknowledged_that_was_lost() {
    explore(SCHEDULES, HASTY, || losing(None));
}

#[test]
fn commits_that_are_lost_and_replaced_between_two_reads_are_noticed() {
    explore(SCHEDULES, HASTY, || async {
        let cluster = Cluster::started(CALM, [None; 2]).await;
        for _ in 0..2 {
            cluster.append(0, 1).await.unwrap().unwrap();
        }
        let log = Arc::clone(&cluster.instances[0]);
        let before = log.position();
        let others = |kept: i64, count: usize| {
            let others = vec![of(2); count];
            cluster.database.at_once(|tables| {
                tables.lose_commits_after(kept);
                tables.append(kept, &others, false)
            })
        };
        others(2, 1);
        let reading = spawn(async move { log.catch_up().await });
        others(1, 2);
        reading.await.unwrap().unwrap();
        cluster.instances[0].catch_up().await.unwrap();
        assert_ne!(cluster.instances[0].position().epoch, before.epoch, "the replaced ones went unnoticed");
    });
}

#[test]
fn it_is_noticed_when_rows_at_one_place_cannot_be_told_from_each_other() {
    let found = violation(SCHEDULES, HASTY, || losing(Some(Flaw::PlainNonces)));
    assert!(found.contains("unnoticed") || found.contains("not applied"), "{found}");
}

#[test]
fn a_schedule_determines_everything_that_the_invalidation_log_does() {
    repeat(50, HASTY, || appending(STORM, None));
    repeat(50, HASTY, || trusting(None));
}
