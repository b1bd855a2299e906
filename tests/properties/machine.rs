//! Plays a case: does one step after another, lets everything come to rest after each, and has the oracle judge what
//! was answered.
//!
//! Decision: both clocks stand still unless a step moves them, and a step ends when no call is under way and no task
//! can run. So a case is the same each time, and takes as long as its work. What a step began and could not end
//! because something is held goes on in later steps.

use std::{collections::HashMap, fmt};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use userdata::{
    cache::{InvalidateOptions, Invalidated, ReadOptions},
    clock::Clock,
    error::{Error, Unavailable},
    fault::{FaultPoint, Gauge, Mode, Place},
    model::Served,
};

use crate::{
    instance::{Instance, LEASE, YIELDS, move_on},
    oracle::{Bound, Called, Oracle},
    script::{At, Fault, How, Key, Span, Step},
    world::World,
};

/// The sources that read the parts that are checked, and an optional one.
pub(crate) const SOURCES: [&str; 3] = ["onboarding", "strategy", "performance"];
/// Ticks after which everything that was begun has to have ended: more than the longest wait for another's load.
const TICKS_TO_THE_END: u32 = 60;

/// A broken promise.
pub(crate) struct Violation {
    what: String,
    /// What happened until then.
    trace: Vec<String>,
}

impl fmt::Debug for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}", self.what, self.trace.join("\n"))
    }
}

/// Something that was begun.
struct Begun {
    at: At,
    step: usize,
    what: What,
    task: JoinHandle<Outcome>,
}

enum What {
    Get(Bound),
    Invalidate(Called),
    Other,
}

enum Outcome {
    Answered(Result<Served, Error>),
    Acknowledged(Result<Invalidated, Error>),
    Done,
}

struct Machine<'w> {
    world: &'w mut World,
    clock: Clock,
    gauge: Gauge,
    instances: HashMap<At, Instance>,
    dead: Vec<Instance>,
    oracle: Oracle,
    begun: Vec<Begun>,
    tasks: TaskTracker,
    trace: Vec<String>,
    /// Time stands still, so nothing that waits for such a Redis ends within a step.
    redis_hangs: bool,
}

/// Plays a case from the beginning; what happened, or what went wrong.
pub(crate) async fn play(world: &mut World, steps: &[Step]) -> Result<Vec<String>, Violation> {
    let clock = Clock::system();
    let gauge = Gauge::default();
    world.empty().await;
    let mut instances = HashMap::new();
    for at in [At::A, At::B, At::C] {
        instances.insert(at, Instance::start(world, &clock, &gauge).await);
    }
    let oracle = Oracle::new(&clock);
    let (dead, begun, trace) = (Vec::new(), Vec::new(), Vec::new());
    let tasks = TaskTracker::new();
    let mut machine = Machine { world, clock, gauge, instances, dead, oracle, begun, tasks, trace, redis_hangs: false };
    let played = machine.play(steps).await;
    machine.end().await;
    match played {
        Ok(()) => Ok(machine.trace),
        Err(what) => Err(Violation { what, trace: machine.trace }),
    }
}

impl Machine<'_> {
    async fn play(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut stock = self.world.stock().await;
        for (number, step) in steps.iter().enumerate() {
            self.trace.push(format!("{number:>3} {step:?}"));
            let quiet = !matches!(step, Step::Invalidate(..)) && self.invalidates_nothing();
            self.take(number, *step).await;
            self.settle().await;
            self.hear().await?;
            let after = self.world.stock().await;
            stock.judge(*step, &after, quiet).map_err(|wrong| format!("step {number}: {wrong}"))?;
            stock = after;
        }
        self.trace.push("  . all is mended".to_owned());
        self.instances.values().for_each(|instance| instance.faults.mend());
        for _ in 0..TICKS_TO_THE_END {
            self.settle().await;
            self.hear().await?;
            if self.begun.is_empty() {
                break;
            }
            move_on(&self.clock, LEASE / 2).await;
        }
        if let Some(begun) = self.begun.first() {
            return Err(format!("step {} never ended", begun.step));
        }
        self.one_load(steps)
    }

    fn invalidates_nothing(&self) -> bool {
        !self.begun.iter().any(|begun| matches!(begun.what, What::Invalidate(_)))
    }

    /// Where nothing failed, died or was invalidated, a key is loaded once, however long that takes.
    fn one_load(&self, steps: &[Step]) -> Result<(), String> {
        let mut keys = Vec::new();
        for step in steps {
            match step {
                Step::Get(_, key, How::Plain | How::Strict | How::Only(_)) if keys.contains(key) => {}
                Step::Get(_, key, How::Plain | How::Strict | How::Only(_)) => keys.push(*key),
                Step::Tick(Span::Short) | Step::Write(_) | Step::Poll(_) => {}
                Step::Disturb(_, FaultPoint::Source(_), Fault::Hold | Fault::HoldAnswer) => {}
                Step::Release(_, FaultPoint::Source(_)) | Step::Mend(_) => {}
                _ => return Ok(()),
            }
        }
        let runs: u64 =
            self.instances.values().map(|instance| instance.faults.begun(FaultPoint::Source(SOURCES[0]))).sum();
        if runs > keys.len() as u64 {
            return Err(format!("{} keys were loaded {runs} times", keys.len()));
        }
        Ok(())
    }

    /// Takes one step.
    async fn take(&mut self, number: usize, step: Step) {
        match step {
            Step::Write(key) => {
                let count = self.oracle.writes(key);
                self.world.write(key, count).await;
            }
            Step::Get(at, key, how) => self.get(number, at, key, how),
            Step::Warm(at) => Key::ALL.into_iter().for_each(|key| self.get(number, at, key, How::Plain)),
            Step::Refresh(at, key) => {
                let bound = self.oracle.asks(at, key, How::Plain);
                let cache = self.instances[&at].cache.clone();
                let work = async move {
                    let refreshed = cache.refresh(&key.query(), &ReadOptions::default()).await;
                    Outcome::Answered(refreshed)
                };
                self.begin(at, number, What::Get(bound), work);
            }
            Step::Invalidate(at, scope, part, wait_all) => {
                let called = self.oracle.calls(at, scope, part, wait_all);
                let cache = self.instances[&at].cache.clone();
                let how = InvalidateOptions { wait_all, purge: false };
                let work = async move { Outcome::Acknowledged(cache.invalidate(scope.scope(part), how).await) };
                self.begin(at, number, What::Invalidate(called), work);
            }
            Step::Clean(at) => {
                let Instance { cache, jobs, .. } = &self.instances[&at];
                let (cache, jobs) = (cache.clone(), jobs.clone());
                let work = async move {
                    jobs.sweep().await;
                    jobs.flush_access_counts().await;
                    // A tier that fails is no failure of the cleaning.
                    let _ = cache.cleanup(None).await;
                    Outcome::Done
                };
                self.begin(at, number, What::Other, work);
            }
            Step::Tick(span) => {
                let by = match span {
                    Span::Short => LEASE / 5,
                    Span::Most => LEASE - LEASE / 5,
                    Span::Lease => LEASE + LEASE / 50,
                    Span::Long => 3 * LEASE,
                };
                move_on(&self.clock, by).await;
            }
            Step::Poll(at) => {
                let jobs = self.instances[&at].jobs.clone();
                let work = async move {
                    tokio::join!(jobs.poll_invalidation_log(), jobs.probe_tiers());
                    Outcome::Done
                };
                self.begin(at, number, What::Other, work);
            }
            Step::Crash(at) => self.crash(at).await,
            Step::Disturb(at, call, fault) => self.disturb(at, call, fault),
            Step::Release(at, call) => self.instances[&at].faults.release(call),
            Step::Mend(at) => self.instances[&at].faults.mend(),
            Step::Redis(lie) => self.world.redis_lies(lie),
            Step::Table(lie) => self.world.table_lies(lie).await,
            Step::LoseCommits if !self.oracle.log_failed.is_empty() || self.redis_hangs => {}
            Step::LoseCommits => {
                self.world.lose_commits().await;
                self.oracle.loses_commits();
                for instance in self.instances.values() {
                    instance.jobs.poll_invalidation_log().await;
                }
            }
        }
    }

    fn get(&mut self, number: usize, at: At, key: Key, how: How) {
        let bound = self.oracle.asks(at, key, how);
        let cache = self.instances[&at].cache.clone();
        let wish = bound.wish.clone();
        let work = async move { Outcome::Answered(cache.get(&key.query(), &wish).await) };
        self.begin(at, number, What::Get(bound), work);
    }

    fn begin(&mut self, at: At, step: usize, what: What, work: impl Future<Output = Outcome> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.begun.push(Begun { at, step, what, task });
    }

    fn disturb(&mut self, at: At, call: FaultPoint, fault: Fault) {
        let (place, mode) = match fault {
            Fault::Fail => (Place::Before, Mode::Fail),
            Fault::Hang => (Place::Before, Mode::Hang),
            Fault::Hold => (Place::Before, Mode::HangOnce),
            Fault::HoldAnswer => (Place::After, Mode::HangOnce),
        };
        match call {
            FaultPoint::Source(_) => self.oracle.sources_failed = true,
            FaultPoint::Redis => self.redis_hangs |= fault != Fault::Fail,
            FaultPoint::Append | FaultPoint::Head | FaultPoint::Rows => self.oracle.log_failed.push(at),
            _ => {}
        }
        self.instances[&at].faults.set(call, place, Some(mode));
    }

    async fn crash(&mut self, at: At) {
        let dead = self.instances.remove(&at).expect("there are three");
        dead.faults.kill();
        // A dead instance tells nothing.
        self.begun.extract_if(.., |begun| begun.at == at).for_each(|begun| begun.task.abort());
        self.dead.push(dead);
        self.oracle.restarts(at);
        self.instances.insert(at, Instance::start(self.world, &self.clock, &self.gauge).await);
    }

    /// Waits until nothing more happens by itself.
    async fn settle(&self) {
        loop {
            let begun = self.gauge.is_at_none().await;
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            if self.gauge.is_at_none().await == begun {
                return;
            }
        }
    }

    /// What has ended by now.
    async fn hear(&mut self) -> Result<(), String> {
        let ended: Vec<_> = self.begun.extract_if(.., |begun| begun.task.is_finished()).collect();
        for Begun { at, step, what, task } in ended {
            let outcome = task.await.map_err(|error| format!("step {step}: {error}"))?;
            let told = match (what, outcome) {
                (What::Get(bound), Outcome::Answered(answer)) => {
                    let judged = self.oracle.judge(&bound, &answer);
                    judged.map_err(|wrong| format!("step {step}: {at:?} answers {:?} with {wrong}", bound.key))?
                }
                (What::Invalidate(called), Outcome::Acknowledged(Ok(Invalidated { token, .. }))) => {
                    let told = format!("OK, position {}", token.position);
                    self.oracle.hears(called, token);
                    told
                }
                (What::Invalidate(_), Outcome::Acknowledged(Err(error))) => {
                    let excused =
                        matches!(error, Error::Unavailable { reason: Unavailable::InvalidationNotDurable, .. })
                            && self.oracle.excuses_invalidation(at);
                    if !excused {
                        return Err(format!("step {step}: nothing excuses: {error}"));
                    }
                    self.oracle.hears_nothing();
                    error.to_string()
                }
                _ => continue,
            };
            self.trace.push(format!("      step {step} at {at:?}: {told}"));
        }
        Ok(())
    }

    async fn end(&mut self) {
        let instances: Vec<_> = self.instances.drain().map(|(_, instance)| instance).collect();
        for instance in instances.into_iter().chain(self.dead.drain(..)) {
            let tasks = instance.tasks.clone();
            instance.end().await;
            tasks.close();
        }
        self.begun.drain(..).for_each(|begun| begun.task.abort());
        self.settle().await;
    }
}
