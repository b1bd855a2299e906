//! `SingleFlight`: which load a caller joins, how many loads run, and that every caller is answered.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64 as Count, Ordering::Relaxed},
    },
    time::Duration,
};

use shuttle::{
    future::spawn,
    sync::atomic::{AtomicI64, Ordering},
};
use userdata::{
    cache::single_flight::{LoadRole, SingleFlight},
    sync::shuttled::{
        chance,
        task::{TaskTracker, panic_as_planned},
        time,
    },
};

use crate::explore::{Pace, all, explore, repeat, violation};

const SCHEDULES: usize = 4000;
/// Time is of no matter here, but that of a load passes while others work.
const PACE: Pace = Pace::Hasty(4);
const LOAD: Duration = Duration::from_millis(10);

/// How callers join loads: with which last invalidation and which read position, if theirs is this.
type Joining = fn(i64) -> (i64, i64);

/// Callers and invalidations of one key. What a load brings is the number of invalidations before it read.
async fn callers_and_invalidations(joining: Joining) {
    let single_flight = Arc::new(SingleFlight::new(TaskTracker::new()));
    let log_position = Arc::new(AtomicI64::new(0));
    let callers = (0..3).map(|_| {
        let (single_flight, log_position) = (Arc::clone(&single_flight), Arc::clone(&log_position));
        spawn(async move {
            for _ in 0..2 {
                let arrived = log_position.load(Ordering::SeqCst);
                let (last_invalidation, read_position) = joining(arrived);
                let read = Arc::clone(&log_position);
                let (handle, _) =
                    single_flight.join_or_start(&"key", last_invalidation, read_position, || async move {
                        let read = read.load(Ordering::SeqCst);
                        time::sleep(LOAD).await;
                        read
                    });
                let read = handle.wait().await.unwrap();
                assert!(read >= arrived, "a caller of {arrived} was given what was read at {read}");
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..3 {
        log_position.fetch_add(1, Ordering::SeqCst);
    }
    all(callers).await;
}

#[test]
fn no_caller_shares_a_load_that_began_before_the_last_invalidation_at_its_arrival() {
    explore(SCHEDULES, PACE, || callers_and_invalidations(|log_position| (log_position, log_position)));
}

#[test]
fn it_is_noticed_when_loads_are_joined_whatever_was_invalidated() {
    let found = violation(SCHEDULES, PACE, || callers_and_invalidations(|log_position| (0, log_position)));
    assert!(found.contains("was given what was read at"), "{found}");
}

#[test]
fn it_is_noticed_when_a_load_claims_a_higher_read_position_than_was_known_when_it_began() {
    let found =
        violation(SCHEDULES, PACE, || callers_and_invalidations(|log_position| (log_position, log_position + 1)));
    assert!(found.contains("was given what was read at"), "{found}");
}

/// Callers of two keys, some of whom leave at once. `shared`: whether they share one `SingleFlight`.
async fn callers_who_come_and_go(shared: bool) {
    let tasks = TaskTracker::new();
    let single_flight = Arc::new(SingleFlight::new(tasks.clone()));
    let running: Arc<Mutex<HashMap<usize, i32>>> = Arc::default();
    let callers = (0..4).map(|caller| {
        let single_flight =
            if shared { Arc::clone(&single_flight) } else { Arc::new(SingleFlight::new(tasks.clone())) };
        let running = Arc::clone(&running);
        spawn(async move {
            for round in 0..2 {
                let (key, running) = ((caller + round) % 2, Arc::clone(&running));
                let (handle, _) = single_flight.join_or_start(&key, 0, 0, || async move {
                    let before = running.lock().unwrap().insert(key, 1);
                    assert_ne!(before, Some(1), "two loads of one key run at once");
                    time::sleep(LOAD).await;
                    running.lock().unwrap().insert(key, 0);
                });
                if chance::once_in(3) {
                    continue;
                }
                handle.wait().await.unwrap();
            }
        })
    });
    all(callers.collect::<Vec<_>>()).await;
    tasks.ended().await;
    assert_eq!(single_flight.active(), 0, "loads are left on the map");
}

#[test]
fn one_load_of_a_key_runs_at_a_time_whoever_comes_and_goes() {
    explore(SCHEDULES, PACE, || callers_who_come_and_go(true));
}

#[test]
fn it_is_noticed_when_callers_do_not_share_their_loads() {
    let found = violation(SCHEDULES, PACE, || callers_who_come_and_go(false));
    assert!(found.contains("two loads of one key"), "{found}");
}

#[test]
fn an_older_load_that_ends_does_not_take_the_newer_one_off_the_map() {
    explore(SCHEDULES, PACE, || async {
        let single_flight = Arc::new(SingleFlight::new(TaskTracker::new()));
        let (older, _) = single_flight.join_or_start(&"key", 0, 0, || time::sleep(LOAD));
        let running = Arc::new(Count::new(0));
        let callers = (0..3).map(|_| {
            let (single_flight, running) = (Arc::clone(&single_flight), Arc::clone(&running));
            spawn(async move {
                let load = || async move {
                    assert_eq!(running.fetch_add(1, Relaxed), 0, "two loads of one position run at once");
                    time::sleep(2 * LOAD).await;
                    running.fetch_sub(1, Relaxed);
                };
                single_flight.join_or_start(&"key", 1, 1, load).0.wait().await.unwrap();
            })
        });
        all(callers.collect::<Vec<_>>()).await;
        older.wait().await.unwrap();
    });
}

/// Loads that panic, never end or die with their instance, under invalidations; callers who leave.
async fn loads_that_fail(endless: bool) {
    let tasks = TaskTracker::new();
    let single_flight = Arc::new(SingleFlight::new(tasks.clone()));
    let waiting = Arc::new(Count::new(0));
    let callers = (0..4).map(|caller| {
        let (single_flight, waiting) = (Arc::clone(&single_flight), Arc::clone(&waiting));
        spawn(async move {
            let (handle, role) = single_flight.join_or_start(&"key", caller / 2, caller, move || async move {
                match chance::below(3) {
                    0 => panic_as_planned(),
                    1 => time::sleep(LOAD).await,
                    _ => {}
                }
                if endless {
                    std::future::pending().await
                }
                caller
            });
            let Some(_waiter) = single_flight.waiter(2) else { return };
            assert!(waiting.fetch_add(1, Relaxed) < 2, "more callers wait than may");
            let outcome = match chance::once_in(3) {
                true => time::timeout(LOAD / 2, handle.wait()).await.ok().flatten(),
                false => handle.wait().await,
            };
            waiting.fetch_sub(1, Relaxed);
            if let Some(of) = outcome {
                assert!(of >= caller / 2, "a load from before the last invalidation");
                assert!(role == LoadRole::Follower || of == caller, "a leader is given his own load");
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    if chance::once_in(4) {
        tasks.die();
    }
    all(callers).await;
    tasks.ended().await;
    assert_eq!(single_flight.active(), 0, "loads are left on the map");
    assert!(single_flight.waiter(1).is_some(), "callers who left are counted as waiting");
}

#[test]
fn nobody_waits_for_ever_and_nothing_is_left_when_loads_fail_and_callers_leave() {
    explore(SCHEDULES, PACE, || loads_that_fail(false));
}

#[test]
fn it_is_noticed_when_a_load_never_ends() {
    let found = violation(SCHEDULES, PACE, || loads_that_fail(true));
    assert!(found.contains("deadlock"), "{found}");
}

#[test]
fn whoever_was_answered_is_not_given_the_same_load_again() {
    explore(SCHEDULES, PACE, || async {
        let single_flight = Arc::new(SingleFlight::new(TaskTracker::new()));
        let loads = Arc::new(Count::new(0));
        let callers = (0..3).map(|_| {
            let (single_flight, loads) = (Arc::clone(&single_flight), Arc::clone(&loads));
            spawn(async move {
                let mut before = 0;
                for _ in 0..3 {
                    let loads = Arc::clone(&loads);
                    let load = || async move { loads.fetch_add(1, Relaxed) + 1 };
                    let number = single_flight.join_or_start(&"key", 0, 0, load).0.wait().await.unwrap();
                    assert!(number > before, "load {number} was joined after load {before} had landed");
                    before = number;
                }
            })
        });
        all(callers.collect::<Vec<_>>()).await;
    });
}

#[test]
fn a_schedule_determines_everything_that_single_flight_does() {
    repeat(100, PACE, || callers_and_invalidations(|log_position| (log_position, log_position)));
    repeat(100, PACE, || loads_that_fail(false));
}
