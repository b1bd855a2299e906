//! Random writes to every table of the sources, with the triggers installed, in SQLite and in PostgreSQL; after each the
//! outbox is relayed and the users concerned are asked for. What is answered has to be what the sources say now, what was
//! read again has to be what the change concerns, and everything else is as it was.
//!
//! ```text
//! cargo test -p userdata-properties changes                       some 45 seconds
//! CHANGES_SECONDS=600 CHANGES_SEED=7 cargo test -p userdata-properties changes
//! ```
//!
//! Decision: the relay, the poll and the requests are steps of the test. "Later than the relay's poll and the lease" is
//! then a place in the order of things and not a time, which a busy machine could break.

mod ground;
mod judge;
mod steps;
mod tables;
mod writes;

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;
use userdata::{
    cache::{InvalidateOptions, ReadOptions},
    changes,
    fault::{FaultPoint, Mode, Place},
    model::{Scope, SectionSet},
    mutant::Mutant,
    proto::v1::StalenessCheckStats,
};

use testkit::database::{BOTH, Kind};

use crate::Alone;
use ground::Ground;
use judge::{Judge, question};
use steps::Steps;
use tables::TABLES;
use writes::Change;

/// For each kind of database.
const SECONDS: u64 = 20;
/// Several times as many as it takes.
const STEPS_UNNOTICED_MAX: usize = 200;
/// Another one for a longer search; in CI the same steps each time.
const SEED: u64 = 20_251_122;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var_os(name).map_or(otherwise, |text| text.to_str().unwrap().parse().unwrap())
}

fn run<T>(mutant: Option<Mutant>, work: impl Future<Output = T>) -> T {
    let _alone = Alone::with(mutant);
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

fn searched(kind: Kind) {
    let (seed, seconds) = (setting("CHANGES_SEED", SEED), setting("CHANGES_SECONDS", SECONDS));
    eprintln!("{kind:?}: CHANGES_SEED={seed} CHANGES_SECONDS={seconds}");
    run(None, async {
        let mut steps = Box::pin(Steps::begin(kind, ChaCha8Rng::seed_from_u64(seed))).await;
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until || !steps.were_enough() {
            steps.take_one().await.unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        Box::pin(steps.end()).await.unwrap_or_else(|wrong| panic!("{wrong}"));
    });
}

#[test]
fn no_answer_is_older_than_a_change_and_nothing_untouched_is_read_again_with_sqlite() {
    searched(Kind::Sqlite);
}

#[test]
fn no_answer_is_older_than_a_change_and_nothing_untouched_is_read_again_with_postgres() {
    searched(Kind::Postgres);
}

/// The search finds what is wrong with the triggers.
fn is_noticed(sabotage: impl Fn(&str) -> String, as_what: &str) {
    run(None, async {
        let mut steps = Steps::begin(Kind::Sqlite, ChaCha8Rng::seed_from_u64(SEED)).await;
        for table in TABLES {
            steps.ground.run(&sabotage(table.name)).await;
        }
        steps.begin_again().await;
        for _ in 0..STEPS_UNNOTICED_MAX {
            if let Err(wrong) = steps.take_one().await {
                eprintln!("{wrong}");
                assert!(wrong.contains(as_what), "for another reason");
                return;
            }
        }
        panic!("nothing notices it");
    });
}

#[test]
fn a_change_that_no_trigger_tells_is_noticed() {
    is_noticed(|table| format!("DROP TRIGGER userdata_{table}_update"), " for ");
}

#[test]
fn a_trigger_that_tells_of_more_than_the_change_concerns_is_noticed() {
    let too_much = |table: &str| {
        format!(
            "CREATE TRIGGER more_{table} AFTER UPDATE ON {table} BEGIN \
             INSERT INTO invalidation_outbox (user_id, sections) VALUES ('5', 32); END"
        )
    };
    is_noticed(too_much, "was read again, but nothing of it was touched");
}

/// A change whose invalidation cannot be committed the first time is relayed the second time.
async fn a_change_that_is_relayed_twice(kind: Kind) -> Result<(), String> {
    let mut ground = Ground::open(kind).await;
    let mut judge = Judge::default();
    judge.judge(&ground, 0, 0).await?;
    let renamed = "UPDATE enhanced_content_strategies SET name = 'renamed' WHERE user_id = '1'";
    judge.expect(&ground.commit(&[Change::of("enhanced_content_strategies", renamed, "user_id = '1'")], true).await);
    let faults = &ground.members[0].faults;
    faults.set(FaultPoint::Append, Place::Before, Some(Mode::Fail));
    ground.members[0].jobs.relay_now().await;
    faults.mend();
    ground.members[0].jobs.relay_now().await;
    let judged = judge.judge(&ground, 0, 0).await;
    ground.close().await;
    judged
}

/// The second user of the questions is asked for, until its document is looked at.
async fn inspect(ground: &Ground) -> StalenessCheckStats {
    let member = &ground.members[0];
    member.cache.get(&question(1), &ReadOptions::default()).await.unwrap();
    member.jobs.check_staleness().await;
    member.inspected().await
}

#[test]
fn what_changes_past_the_triggers_is_found_and_told_once() {
    for kind in BOTH {
        run(None, async {
            let ground = Ground::open(kind).await;
            ground.members[0].cache.get(&question(1), &ReadOptions::default()).await.unwrap();
            let found = inspect(&ground).await;
            assert_eq!((found.compared, found.stale, found.age_max), (1, 0, None), "{kind:?}");

            changes::remove(&ground.db).await.unwrap();
            ground.relay_everywhere().await;
            ground.members[0].cache.get(&question(1), &ReadOptions::default()).await.unwrap();
            ground.run("UPDATE enhanced_content_strategies SET name = 'past them' WHERE user_id = '6'").await;
            let before = ground.clock.now();
            let found = inspect(&ground).await;
            assert_eq!((found.compared, found.stale, found.change_pending), (2, 1, 0), "{kind:?}");
            let age = Duration::try_from(&found.age_max.unwrap()).unwrap();
            assert!(age >= ground.clock.now().since(before), "{kind:?}: at least as old as the comparison took");
            // What was found is invalidated, so it is read again.
            ground.members[0].cache.get(&question(1), &ReadOptions::default()).await.unwrap();
            let found = inspect(&ground).await;
            assert_eq!((found.compared, found.stale), (3, 1), "{kind:?}: mended");

            // When a row was last saved is no difference.
            changes::install(&ground.db).await.unwrap();
            ground.relay_everywhere().await;
            let user = question(1).user;
            let everything = Scope { user, strategy: None, sections: SectionSet::ALL };
            ground.members[0].cache.invalidate(everything, InvalidateOptions::default()).await.unwrap();
            ground.members[0].cache.get(&question(1), &ReadOptions::default()).await.unwrap();
            ground.run("UPDATE enhanced_content_strategies SET updated_at = '2020-01-01 00:00:00'").await;
            let found = inspect(&ground).await;
            assert_eq!((found.compared, found.stale, found.change_pending), (4, 1, 0), "{kind:?}: read anew");
            ground.close().await;
        });
    }
}

#[test]
fn forgetting_a_change_before_its_invalidation_is_committed_is_noticed() {
    for kind in BOTH {
        run(None, a_change_that_is_relayed_twice(kind)).unwrap();
        let broken = run(Some(Mutant::ConsumesBeforeInvalidating), a_change_that_is_relayed_twice(kind));
        let noticed = broken.expect_err("nothing notices it");
        assert!(noticed.contains("renamed"), "{kind:?}: {noticed}");
    }
}
