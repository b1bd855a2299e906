//! The random search: lists of steps as they come. A failing one is made as short as it can be, printed with all that
//! happened, and its seed is kept in `regressions.txt`, which is tried first from then on.
//!
//! ```text
//! cargo test --features mutants --test properties search            2,000 cases
//! PROPTEST_CASES=20000 cargo test --features mutants --test properties search
//! ```

use std::{cell::RefCell, thread};

use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner},
};
use userdata::fault::Call;

use crate::{
    Alone, StoppedTime,
    machine::{SOURCES, play},
    script::{At, Fault, How, Key, Lie, Part, Span, Step},
    world::World,
};

/// In all.
const CASES: u32 = 2000;
const STEPS_MAX: usize = 60;
/// Each has its own world, and its database a thread beside it.
const THREADS: u32 = 2;

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    select(all)
}

fn at() -> impl Strategy<Value = At> {
    one_of(&[At::A, At::B, At::C])
}

fn key() -> impl Strategy<Value = Key> {
    // Mostly the same one: what happens to it has to meet.
    prop_oneof![2 => Just(Key::One), 2 => one_of(&Key::ALL)]
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

fn call() -> impl Strategy<Value = Call> {
    let others = &[Call::Redis, Call::Row, Call::Append, Call::Head, Call::Rows, Call::Lease];
    prop_oneof![
        3 => one_of(others),
        2 => one_of(&SOURCES).prop_map(Call::Source),
        1 => Just(Call::Store),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let part = prop_oneof![3 => Just(None), 1 => one_of(&Part::ALL).prop_map(Some)];
    let fault = one_of(&[Fault::Fail, Fault::Hang, Fault::Hold, Fault::HoldAnswer]);
    let lie = || one_of(&[Lie::Save, Lie::PutBack, Lie::Garble, Lie::Forget, Lie::Swap]);
    prop_oneof![
        12 => key().prop_map(Step::Write),
        30 => (at(), key(), how()).prop_map(|(at, key, how)| Step::Get(at, key, how)),
        3 => (at(), key()).prop_map(|(at, key)| Step::Refresh(at, key)),
        12 => (at(), key(), part, prop::bool::weighted(0.3))
            .prop_map(|(at, scope, part, wait_all)| Step::Invalidate(at, scope, part, wait_all)),
        1 => at().prop_map(Step::Warm),
        1 => at().prop_map(Step::Clean),
        10 => one_of(&[Span::Short, Span::Short, Span::Most, Span::Lease, Span::Long]).prop_map(Step::Tick),
        6 => at().prop_map(Step::Poll),
        2 => at().prop_map(Step::Crash),
        9 => (at(), call(), fault).prop_map(|(at, call, fault)| Step::Disturb(at, call, fault)),
        4 => (at(), call()).prop_map(|(at, call)| Step::Release(at, call)),
        4 => at().prop_map(Step::Mend),
        3 => lie().prop_map(Step::Redis),
        3 => lie().prop_map(Step::Table),
        1 => Just(Step::LoseCommits),
    ]
}

/// Tries so many lists; what was found.
fn search(cases: u32) -> Result<(), String> {
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/regressions.txt"))),
        ..Config::default()
    };
    let time = StoppedTime::new();
    let world = RefCell::new(time.run(World::open()));
    let searched = TestRunner::new(config).run(&prop::collection::vec(step(), 1..=STEPS_MAX), |steps| {
        let played = time.run(play(&mut world.borrow_mut(), &steps));
        played.map(drop).map_err(|violation| TestCaseError::fail(format!("{violation:?}")))
    });
    searched.map_err(|error| match error {
        TestError::Fail(reason, _) => reason.to_string(),
        TestError::Abort(reason) => panic!("{reason}"),
    })
}

#[test]
fn search_finds_no_order_of_events_that_breaks_a_promise() {
    let _alone = Alone::with(None);
    let cases = std::env::var_os("PROPTEST_CASES").map_or(CASES, |cases| cases.to_str().unwrap().parse().unwrap());
    let found: Vec<_> = thread::scope(|scope| {
        let searches: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| search(cases.div_ceil(THREADS)))).collect();
        searches.into_iter().filter_map(|search| search.join().unwrap().err()).collect()
    });
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}
