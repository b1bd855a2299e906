//! Runs one scenario under many schedules.

use std::{any::Any, future::Future, panic::resume_unwind, thread};

use shuttle::{
    Config, MaxSteps, Runner,
    future::JoinHandle,
    scheduler::{
        PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId,
        UncontrolledNondeterminismCheckScheduler,
    },
};
use userdata::sync::time;

/// Most defects need three steps in a certain order at most, says the paper on PCT.
const DEPTH: usize = 3;
/// No scenario comes near it: one that needs more never ends.
const STEPS_MAX: usize = 50_000;
/// Enough for the deepest call without optimisation; untouched pages cost nothing.
const STACK_BYTES: usize = 512 * 1024;
/// Always the same schedules, so that a test that passed does not fail without a change.
const SEED: u64 = 0x5eed;

/// When time goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// While all tasks wait: work takes no time.
    Patient,
    /// Also once in so many steps while a task could run, which is starved meanwhile.
    Hasty(u64),
}

/// Runs a scenario under many schedules; a violation panics and its schedule is printed.
pub(crate) fn explore<S, F>(schedules: usize, pace: Pace, scenario: S)
where
    S: Fn() -> F + Copy + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    run_all(schedules, pace, scenario).unwrap_or_else(|violation| resume_unwind(violation));
}

/// What a violation says that is found under one of many schedules.
pub(crate) fn violation<S, F>(schedules: usize, pace: Pace, scenario: S) -> String
where
    S: Fn() -> F + Copy + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let violation = run_all(schedules, pace, scenario).expect_err("nothing was noticed");
    let text = violation.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| violation.downcast_ref().cloned()).expect("panics carry texts")
}

/// Checks that a schedule determines everything: that none fails to be repeated.
pub(crate) fn repeat<S, F>(schedules: usize, pace: Pace, scenario: S)
where
    S: Fn() -> F + Copy + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let drawn = RandomScheduler::new_from_seed(SEED, schedules);
    run(UncontrolledNondeterminismCheckScheduler::new(Paced::new(drawn, pace)), scenario)
        .unwrap_or_else(|violation| resume_unwind(violation));
}

/// Waits for tasks.
pub(crate) async fn all<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

type Violation = Box<dyn Any + Send>;

fn run_all<S, F>(schedules: usize, pace: Pace, scenario: S) -> Result<(), Violation>
where
    S: Fn() -> F + Copy + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    if let Some(schedule) = variable("SCHEDULE") {
        return run(ReplayScheduler::new_from_encoded(schedule.trim()), scenario);
    }
    let schedules = schedules * variable("SCHEDULES").map_or(1, |times| times.parse().expect("SCHEDULES is a number"));
    let drawn = RandomScheduler::new_from_seed(SEED, schedules / 2);
    run(Paced::new(drawn, pace), scenario)?;
    run(Paced::new(PctScheduler::new_from_seed(SEED, DEPTH, schedules / 2), pace), scenario)
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "an option of these tests, not of the product")]
    std::env::var(name).ok()
}

/// In a thread of its own, as a violation leaves Shuttle's state of its thread behind.
fn run<S, F>(scheduler: impl Scheduler + Send + 'static, scenario: S) -> Result<(), Violation>
where
    S: Fn() -> F + Copy + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true; // about orderings weaker than sequentially consistent: see lib.rs
    let execution = move || {
        time::start();
        shuttle::future::block_on(scenario());
    };
    thread::spawn(move || Runner::new(scheduler, config).run(execution)).join().map(drop)
}

/// Leaves it to another scheduler who runs next, but keeps the task that moves time back.
struct Paced<S> {
    inner: S,
    pace: Pace,
    drawn: u64,
}

impl<S> Paced<S> {
    fn new(inner: S, pace: Pace) -> Self {
        Self { inner, pace, drawn: SEED }
    }

    /// Not by `next_u64`: a replayed schedule repeats the choice itself, and would draw too few numbers.
    fn lets_time_pass(&mut self) -> bool {
        let Pace::Hasty(once_in) = self.pace else { return false };
        // Knuth's MMIX generator, whose upper bits are the good ones.
        self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.drawn >> 33).is_multiple_of(once_in)
    }
}

impl<S: Scheduler> Scheduler for Paced<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.inner.new_execution()
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        // The first task that an execution spawns.
        let time = TaskId::from(1);
        if runnable.len() == 1 || self.lets_time_pass() {
            return self.inner.next_task(runnable, current, is_yielding);
        }
        let others: Vec<&Task> = runnable.iter().copied().filter(|task| task.id() != time).collect();
        self.inner.next_task(&others, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}
