//! `Refreshes`: what a caller may share, and that one runs and one is pending.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64 as Count, Ordering::Relaxed},
    },
    time::Duration,
};

use shuttle::{
    future::spawn,
    sync::atomic::{AtomicI64, Ordering},
};
use userdata::{
    cache::single_flight::{LoadRole, Refreshes},
    sync::shuttled::{
        chance,
        task::{TaskTracker, panic_as_planned},
        time,
    },
};

use crate::explore::{Pace, all, explore, repeat, violation};

const SCHEDULES: usize = 4000;
const PACE: Pace = Pace::Hasty(4);
const LOAD: Duration = Duration::from_millis(10);

/// When a refresh reads its source.
#[derive(Clone, Copy)]
enum Reads {
    WhenItsTurnComes,
    WhenItIsAskedFor,
}

/// Callers ask while the source changes. What a refresh brings is the number of changes before it read.
async fn callers_and_changes(reads: Reads) {
    let refreshes = Arc::new(Refreshes::new(TaskTracker::new()));
    let source = Arc::new(AtomicI64::new(0));
    let running = Arc::new(Count::new(0));
    let callers = (0..3).map(|_| {
        let (refreshes, source, running) = (Arc::clone(&refreshes), Arc::clone(&source), Arc::clone(&running));
        spawn(async move {
            for _ in 0..2 {
                let asked = source.load(Ordering::SeqCst);
                let (source, running) = (Arc::clone(&source), Arc::clone(&running));
                let (handle, _) = refreshes.join_or_start(&"key", || {
                    let early = source.load(Ordering::SeqCst);
                    async move {
                        assert_eq!(running.fetch_add(1, Relaxed), 0, "two refreshes of one key run at once");
                        let read = match reads {
                            Reads::WhenItsTurnComes => source.load(Ordering::SeqCst),
                            Reads::WhenItIsAskedFor => early,
                        };
                        time::sleep(LOAD).await;
                        running.fetch_sub(1, Relaxed);
                        read
                    }
                });
                let read = handle.wait().await.unwrap();
                assert!(read >= asked, "who asked at {asked} was given what was read at {read}");
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..3 {
        source.fetch_add(1, Ordering::SeqCst);
        time::sleep(LOAD / 2).await;
    }
    all(callers).await;
}

#[test]
fn a_refresh_shares_nothing_that_began_before_it_was_asked_for() {
    explore(SCHEDULES, PACE, || callers_and_changes(Reads::WhenItsTurnComes));
}

#[test]
fn it_is_noticed_when_a_pending_refresh_has_read_already() {
    let found = violation(SCHEDULES, PACE, || callers_and_changes(Reads::WhenItIsAskedFor));
    assert!(found.contains("was given what was read at"), "{found}");
}

/// All ask at once, of refreshes some of which panic; then once more.
async fn callers_at_once(callers: i64) {
    let tasks = TaskTracker::new();
    let refreshes = Arc::new(Refreshes::new(tasks.clone()));
    let (runs, leaders) = (Arc::new(Count::new(0)), Arc::new(Count::new(0)));
    let asks = (0..callers).map(|_| {
        let (refreshes, runs, leaders) = (Arc::clone(&refreshes), Arc::clone(&runs), Arc::clone(&leaders));
        spawn(async move {
            let (handle, role) = refreshes.join_or_start(&"key", || async move {
                runs.fetch_add(1, Relaxed);
                if chance::once_in(3) {
                    panic_as_planned();
                }
                time::sleep(LOAD).await;
            });
            leaders.fetch_add(i64::from(role == LoadRole::Leader), Relaxed);
            if !chance::once_in(3) {
                handle.wait().await;
            }
        })
    });
    all(asks.collect::<Vec<_>>()).await;
    tasks.ended().await;
    assert_eq!(runs.load(Relaxed), leaders.load(Relaxed), "each refresh that was begun or is pending runs, once");
    let (handle, role) = refreshes.join_or_start(&"key", || async {});
    assert_eq!(role, LoadRole::Leader, "a refresh is left on the map");
    assert_eq!(handle.wait().await, Some(()), "it runs at once");
}

#[test]
fn every_refresh_runs_and_nothing_is_left_when_they_panic_and_callers_leave() {
    explore(SCHEDULES, PACE, || callers_at_once(5));
}

#[test]
fn who_asks_while_one_runs_and_one_is_pending_shares_the_pending_one() {
    // Time passes only when all callers have asked: the first refresh runs until then.
    explore(SCHEDULES, Pace::Patient, || async {
        let refreshes = Arc::new(Refreshes::new(TaskTracker::new()));
        let runs = Arc::new(Count::new(0));
        let asks = (0..5).map(|_| {
            let (refreshes, runs) = (Arc::clone(&refreshes), Arc::clone(&runs));
            spawn(async move {
                let run = || async move {
                    time::sleep(LOAD).await;
                    runs.fetch_add(1, Relaxed) + 1
                };
                refreshes.join_or_start(&"key", run).0.wait().await.unwrap()
            })
        });
        let mut shared = all(asks.collect::<Vec<_>>()).await;
        shared.sort_unstable();
        assert_eq!(shared, [1, 2, 2, 2, 2]);
    });
}

#[test]
fn a_schedule_determines_everything_that_refreshes_do() {
    repeat(100, PACE, || callers_at_once(5));
}
