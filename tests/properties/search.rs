//! The random search: lists of steps as they come. A failing one is made as short as it can be, printed with all that
//! happened, and its seed is kept in `regressions.txt`, which is tried first from then on.
//!
//! ```text
//! cargo test -p userdata-properties search            2,000 cases
//! PROPTEST_CASES=20000 cargo test -p userdata-properties search
//! ```

use std::{
    cell::{Cell, RefCell},
    thread,
};

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use userdata::{fault::FaultPoint, mutant::Mutant};

use crate::{
    Alone, StoppedTime,
    machine::{SOURCES, play},
    script::{At, Fault, How, Key, Lie, Part, Span, Step},
    world::World,
};

/// In all.
const CASES: u32 = 2000;
const STEPS_MAX: usize = 60;
/// Several times as many as any of [`FOUND_BY_CHANCE`] takes.
const CASES_PER_MUTANT: u32 = 500;
/// Each has its own world, and its database a thread beside it.
const THREADS: u32 = 2;

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    select(all)
}

fn at() -> impl Strategy<Value = At> {
    // What happens has to meet.
    prop_oneof![3 => Just(At::A), 2 => Just(At::B), 1 => Just(At::C)]
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![3 => Just(Key::One), 2 => one_of(&Key::ALL)]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        8 => Just(How::Plain),
        1 => Just(How::Strict),
        2 => Just(How::Linearizable),
        3 => (0..3_usize).prop_map(How::Token),
        1 => Just(How::Recent),
        1 => one_of(&Part::ALL).prop_map(How::Only),
    ]
}

fn call() -> impl Strategy<Value = FaultPoint> {
    let log = &[FaultPoint::Append, FaultPoint::Appending, FaultPoint::Head, FaultPoint::Head, FaultPoint::Rows];
    let tiers = &[FaultPoint::Redis, FaultPoint::Row, FaultPoint::Lease, FaultPoint::Store, FaultPoint::Store];
    prop_oneof![one_of(log), one_of(tiers), one_of(&SOURCES).prop_map(FaultPoint::Source)]
}

fn fault() -> impl Strategy<Value = Fault> {
    one_of(&[Fault::Fail, Fault::Hang, Fault::Hold, Fault::HoldAnswer])
}

fn lie() -> impl Strategy<Value = Lie> {
    one_of(&[Lie::Save, Lie::Save, Lie::PutBack, Lie::PutBack, Lie::Garble, Lie::Forget, Lie::Swap])
}

fn span() -> impl Strategy<Value = Span> {
    one_of(&[Span::Short, Span::Short, Span::Most, Span::Lease, Span::Long])
}

/// One step, or some that are of little use without each other.
fn phrase() -> impl Strategy<Value = Vec<Step>> {
    let part = || prop_oneof![4 => Just(None), 1 => one_of(&Part::ALL).prop_map(Some)];
    let wait_all = || prop::bool::weighted(0.2);
    let one = prop_oneof![
        4 => key().prop_map(Step::Write),
        30 => (at(), key(), how()).prop_map(|(at, key, how)| Step::Get(at, key, how)),
        3 => (at(), key()).prop_map(|(at, key)| Step::Refresh(at, key)),
        4 => (at(), key(), part(), wait_all())
            .prop_map(|(at, scope, part, wait_all)| Step::Invalidate(at, scope, part, wait_all)),
        1 => at().prop_map(Step::Warm),
        1 => at().prop_map(Step::Clean),
        10 => span().prop_map(Step::Tick),
        6 => at().prop_map(Step::Poll),
        2 => at().prop_map(Step::Crash),
        5 => (at(), call(), fault()).prop_map(|(at, call, fault)| Step::Disturb(at, call, fault)),
        5 => (at(), call()).prop_map(|(at, call)| Step::Release(at, call)),
        5 => at().prop_map(Step::Mend),
        3 => lie().prop_map(Step::Redis),
        3 => lie().prop_map(Step::Table),
        1 => Just(Step::LoseCommits),
    ];
    let change = (at(), key(), part(), wait_all())
        .prop_map(|(at, scope, part, wait_all)| vec![Step::Write(scope), Step::Invalidate(at, scope, part, wait_all)]);
    let slow_load = (at(), key(), one_of(&SOURCES)).prop_map(|(at, key, source)| {
        vec![Step::Disturb(at, FaultPoint::Source(source), Fault::HoldAnswer), Step::Get(at, key, How::Plain)]
    });
    let late_write = (at(), key())
        .prop_map(|(at, key)| vec![Step::Disturb(at, FaultPoint::Store, Fault::Hold), Step::Get(at, key, How::Plain)]);
    let slow_poll = (at(), one_of(&[FaultPoint::Head, FaultPoint::Rows]), one_of(&[Fault::Hold, Fault::HoldAnswer]))
        .prop_map(|(at, call, fault)| vec![Step::Disturb(at, call, fault), Step::Poll(at)]);
    prop_oneof![
        20 => one.prop_map(|one| vec![one]),
        4 => change,
        2 => slow_load,
        1 => late_write,
        1 => slow_poll,
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let of = |phrases: Vec<Vec<Step>>| {
        let mut steps = phrases.concat();
        steps.truncate(STEPS_MAX);
        steps
    };
    let stormy = prop::collection::vec(phrase(), 1..=STEPS_MAX).prop_map(of);
    prop_oneof![9 => stormy, 1 => prop::collection::vec(calm_phrase(), 1..=STEPS_MAX).prop_map(of)]
}

/// Where nothing fails and nothing is invalidated, each key is loaded once, however long that takes.
fn calm_phrase() -> impl Strategy<Value = Vec<Step>> {
    let source = || one_of(&SOURCES).prop_map(FaultPoint::Source);
    let one = prop_oneof![
        6 => (at(), key()).prop_map(|(at, key)| Step::Get(at, key, How::Plain)),
        1 => key().prop_map(Step::Write),
        2 => (at(), source()).prop_map(|(at, source)| Step::Disturb(at, source, Fault::Hold)),
        1 => (at(), source()).prop_map(|(at, source)| Step::Release(at, source)),
    ];
    let tick = Step::Tick(Span::Short);
    let while_polled = vec![tick, tick, tick, tick, Step::Poll(At::A), Step::Poll(At::B), Step::Poll(At::C)];
    prop_oneof![2 => one.prop_map(|one| vec![one]), 1 => Just(while_polled)]
}

/// Tries lists until one breaks a promise; how many, and what was found, in as few steps as can be if the runner
/// shortens what it finds.
fn search(mut runner: TestRunner) -> (u32, Option<String>) {
    let time = StoppedTime::new();
    let world = RefCell::new(time.run(World::open()));
    let tried = Cell::new(0);
    let violated = |steps: &[Step]| {
        tried.set(tried.get() + 1);
        time.run(play(&mut world.borrow_mut(), steps)).err().map(|violation| format!("{violation:?}"))
    };
    let searched = runner.run(&steps(), |steps| match violated(&steps) {
        Some(found) => Err(TestCaseError::fail(found)),
        None => Ok(()),
    });
    let found = searched.err().map(|error| match error {
        TestError::Fail(found, steps) if runner.config().max_shrink_iters > 0 => {
            shortened(found.to_string(), steps, violated)
        }
        TestError::Fail(found, _) => found.to_string(),
        TestError::Abort(reason) => panic!("{reason}"),
    });
    (tried.get(), found)
}

/// Leaves out each step without which a promise is broken all the same: the runner leaves out whole phrases.
fn shortened(mut found: String, mut steps: Vec<Step>, violated: impl Fn(&[Step]) -> Option<String>) -> String {
    let mut place = 0;
    while place < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(place);
        match violated(&fewer) {
            Some(still) => (found, steps) = (still, fewer),
            None => place += 1,
        }
    }
    found
}

#[test]
fn search_finds_no_order_of_events_that_breaks_a_promise() {
    let _alone = Alone::with(None);
    let cases = std::env::var_os("PROPTEST_CASES").map_or(CASES, |cases| cases.to_str().unwrap().parse().unwrap());
    let config = Config {
        cases: cases.div_ceil(THREADS),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("regressions.txt"))),
        ..Config::default()
    };
    let found: Vec<_> = thread::scope(|scope| {
        let searches: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| search(TestRunner::new(config.clone())))).collect();
        searches.into_iter().filter_map(|search| search.join().unwrap().1).collect()
    });
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// Those that need no exact order of more events than the search brings together soon. The others are noticed by
/// directed lists alone (mutants.rs).
const FOUND_BY_CHANCE: [Mutant; 12] = [
    Mutant::ReadPositionTakenAtTheEnd,
    Mutant::JoinsAnOlderLoad,
    Mutant::AcknowledgesBeforeApplying,
    Mutant::TrustsRedis,
    Mutant::NoLease,
    Mutant::WaitAllDoesNotWait,
    Mutant::IgnoresTheToken,
    Mutant::AppliesOnlyItsOwnRow,
    Mutant::SharesASentCatchUp,
    Mutant::PrunesWithoutTheLowWatermark,
    Mutant::IgnoresTheEpoch,
    Mutant::TakesOverByPosition,
];

/// The search can find something. Always the same lists; only the cache's own jitter differs from time to time.
#[test]
fn search_finds_most_broken_rules() {
    let mut missed = Vec::new();
    for mutant in FOUND_BY_CHANCE {
        let _alone = Alone::with(Some(mutant));
        let cases = CASES_PER_MUTANT;
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
        let (tried, found) = search(TestRunner::new_with_rng(config, seed));
        eprintln!(
            "{mutant:?}: {tried} tried: {}",
            found.as_deref().and_then(|found| found.lines().next()).unwrap_or("-")
        );
        if found.is_none() {
            missed.push(mutant);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
