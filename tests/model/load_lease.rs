//! The load lease: P7 on three instances that are asked for the same cold key.
//!
//! The sources run at most 1 + invalidations + holders that died or stalled. Safety does not depend on the lease, so this
//! model knows no read positions except a document's position; it counts runs. In each tick a living holder sends a
//! heartbeat. A waiter that sees the same heartbeat for two ticks takes over.

use std::fmt::{self, Display, Formatter};

use crate::{
    explore::{Fold, Model, Next},
    mutants::Mutant,
    state::instance,
};

const INSTANCES: usize = 3;
/// Ticks without a heartbeat after which a holder counts as dead.
const PATIENCE: u8 = 2;
const NOBODY: u8 = 9;

pub(crate) struct LoadLease {
    pub(crate) mutant: Option<Mutant>,
    pub(crate) invalidations: u8,
    /// Holders that may die or stall.
    pub(crate) faults: u8,
    /// Ticks, at most.
    pub(crate) ticks: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Found nothing in the table; asks for the lease.
    Claiming,
    /// Looks at the lease and the table from time to time.
    Waiting,
    /// Has seen the same heartbeat for long enough.
    TakingOver,
    /// Has the lease; looks into the table again.
    Holding,
    /// Reads the sources.
    Running,
    /// Has answered; its row is on its way.
    Storing,
    Releasing,
    Done,
    Dead,
}

#[derive(Clone, Copy)]
struct Loader {
    stage: Stage,
    /// The position of its load, then of its lease.
    read_position: u8,
    stalled: bool,
    /// It has sent a heartbeat since the last tick.
    beaten: bool,
    /// The heartbeat that a waiter saw last, and for how many ticks.
    holder: u8,
    heartbeat: u8,
    since: u8,
}

#[derive(Clone, Copy)]
pub(crate) struct State {
    holder: u8,
    position: u8,
    heartbeat: u8,
    /// The row in the table: its position plus one. 0: no row.
    row: u8,
    last_invalidation: u8,
    runs: u8,
    /// Runs that the promise allows.
    allowed: u8,
    faults: u8,
    ticks: u8,
    loaders: [Loader; INSTANCES],
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Tick,
    Invalidate,
    Ask(u8),
    Claim(u8),
    LookAgain(u8),
    Raise(u8),
    Run(u8),
    Finish(u8),
    Store(u8),
    Release(u8),
    Heartbeat(u8),
    Look(u8),
    TakeOver(u8),
    Die(u8),
    Stall(u8),
    Resume(u8),
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (at, what) = match *self {
            Self::Tick => return formatter.write_str("time passes"),
            Self::Invalidate => return formatter.write_str("the key is invalidated"),
            Self::Ask(at) => (at, "is asked, and finds nothing in the table, or answers"),
            Self::Claim(at) => (at, "asks for the lease"),
            Self::LookAgain(at) => (at, "looks into the table again, and is done"),
            Self::Raise(at) => (at, "raises its lease's position, if it is still its own"),
            Self::Run(at) => (at, "runs the sources"),
            Self::Finish(at) => (at, "has its document"),
            Self::Store(at) => (at, "stores its row"),
            Self::Release(at) => (at, "releases the lease, if it is still its own"),
            Self::Heartbeat(at) => (at, "sends a heartbeat"),
            Self::Look(at) => (at, "looks at the table and the lease"),
            Self::TakeOver(at) => (at, "tries to take over"),
            Self::Die(at) => (at, "dies"),
            Self::Stall(at) => (at, "stalls"),
            Self::Resume(at) => (at, "goes on"),
        };
        write!(formatter, "{} {what}", instance(at))
    }
}

impl Model for LoadLease {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let loader = Loader {
            stage: Stage::Idle,
            read_position: 0,
            stalled: false,
            beaten: false,
            holder: NOBODY,
            heartbeat: 0,
            since: 0,
        };
        State {
            holder: NOBODY,
            position: 0,
            heartbeat: 0,
            row: 0,
            last_invalidation: 0,
            runs: 0,
            allowed: 1,
            faults: 0,
            ticks: 0,
            loaders: [loader; INSTANCES],
        }
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        fold.word(u64::from_le_bytes([
            state.holder | state.position << 4,
            state.heartbeat,
            state.row,
            state.last_invalidation,
            state.runs,
            state.allowed,
            state.faults,
            state.ticks,
        ]));
        for one in &state.loaders {
            fold.word(u64::from_le_bytes([
                one.stage as u8,
                one.read_position,
                u8::from(one.stalled),
                u8::from(one.beaten),
                one.holder,
                one.heartbeat,
                one.since,
                0,
            ]));
        }
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        self.world(state, next);
        for at in 0..INSTANCES as u8 {
            if !state.loaders[usize::from(at)].stalled {
                self.loader(state, at, next);
            }
            self.faults(state, at, next);
        }
    }

    fn show(&self, state: &State) -> String {
        let holder = if state.holder == NOBODY { '-' } else { instance(state.holder) };
        format!(
            "lease {holder} heartbeat {} | row {} invalidated {} | runs {} of {}",
            state.heartbeat, state.row, state.last_invalidation, state.runs, state.allowed
        )
    }
}

impl LoadLease {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn world(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if state.last_invalidation < self.invalidations {
            let mut after = *state;
            after.last_invalidation += 1;
            after.allowed += 1;
            next.push(Next { step: Step::Invalidate, state: after, broken: None });
        }
        // A living holder sends a heartbeat in every tick.
        let all_sent = (0..INSTANCES).all(|index| {
            let one = &state.loaders[index];
            !self.holds(state, index as u8) || one.stalled || one.beaten
        });
        if all_sent && state.ticks < self.ticks {
            let mut after = *state;
            after.ticks += 1;
            for one in &mut after.loaders {
                one.beaten = false;
                if matches!(one.stage, Stage::Waiting | Stage::TakingOver) {
                    one.since = (one.since + 1).min(PATIENCE);
                }
            }
            next.push(Next { step: Step::Tick, state: after, broken: None });
        }
    }

    fn holds(&self, state: &State, at: u8) -> bool {
        let stage = state.loaders[usize::from(at)].stage;
        state.holder == at && matches!(stage, Stage::Holding | Stage::Running | Stage::Storing | Stage::Releasing)
    }

    fn loader(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let index = usize::from(at);
        let one = state.loaders[index];
        let served = state.row > state.last_invalidation;
        let mut after = *state;
        let own = &mut after.loaders[index];
        if self.holds(state, at) && !one.beaten {
            let mut after = *state;
            after.heartbeat += 1;
            after.loaders[index].beaten = true;
            next.push(Next { step: Step::Heartbeat(at), state: after, broken: None });
        }
        let step = match one.stage {
            Stage::Done | Stage::Dead => return,
            Stage::Idle => {
                own.stage = if served { Stage::Done } else { Stage::Claiming };
                Step::Ask(at)
            }
            Stage::Claiming => {
                if state.holder == NOBODY || state.position < state.last_invalidation {
                    self.take(&mut after, at);
                } else {
                    (own.holder, own.heartbeat, own.since) = (state.holder, self.sign(state), 0);
                    own.stage = Stage::Waiting;
                }
                Step::Claim(at)
            }
            Stage::Waiting => {
                if served {
                    own.stage = Stage::Done;
                } else if state.holder == NOBODY {
                    own.stage = Stage::Claiming;
                } else if (own.holder, own.heartbeat) != (state.holder, self.sign(state)) {
                    (own.holder, own.heartbeat, own.since) = (state.holder, self.sign(state), 0);
                } else if own.since >= PATIENCE {
                    own.stage = Stage::TakingOver;
                } else {
                    return; // nothing new
                }
                Step::Look(at)
            }
            Stage::TakingOver => {
                let same = (own.holder, own.heartbeat) == (state.holder, self.sign(state));
                if same || self.is(Mutant::TakesOverWithoutComparing) {
                    self.take(&mut after, at);
                } else {
                    own.stage = Stage::Waiting;
                    own.since = 0;
                }
                Step::TakeOver(at)
            }
            Stage::Holding if served && !self.is(Mutant::NoSecondLook) => {
                own.stage = Stage::Releasing;
                Step::LookAgain(at)
            }
            // Its own view of the log: it must not load at a position that an invalidation has passed.
            Stage::Holding if one.read_position < state.last_invalidation && !self.is(Mutant::RunsAtAnOldPosition) => {
                if state.holder == at && state.position == one.read_position {
                    self.take(&mut after, at);
                } else {
                    own.stage = Stage::Claiming;
                }
                Step::Raise(at)
            }
            Stage::Holding => {
                own.stage = Stage::Running;
                after.runs += 1;
                let broken = (after.runs > after.allowed)
                    .then(|| format!("P7: the sources run {} times, {} are allowed", after.runs, after.allowed));
                next.push(Next { step: Step::Run(at), state: after, broken });
                return;
            }
            Stage::Running => {
                own.stage = Stage::Storing;
                Step::Finish(at)
            }
            Stage::Storing => {
                own.stage = Stage::Releasing;
                after.row = after.row.max(one.read_position + 1);
                Step::Store(at)
            }
            Stage::Releasing => {
                own.stage = Stage::Done;
                if state.holder == at && state.position == one.read_position {
                    (after.holder, after.position) = (NOBODY, 0);
                }
                Step::Release(at)
            }
        };
        next.push(Next { step, state: after, broken: None });
    }

    /// What shows a waiter that the holder lives.
    fn sign(&self, state: &State) -> u8 {
        if self.is(Mutant::TakesOverByPosition) { state.position } else { state.heartbeat }
    }

    fn take(&self, state: &mut State, at: u8) {
        state.holder = at;
        state.position = state.last_invalidation;
        // A number that no waiter can have seen. With 0, the same holder's next lease would look like its last one.
        state.heartbeat = if self.is(Mutant::RestartsTheHeartbeat) { 0 } else { state.heartbeat + 1 };
        let own = &mut state.loaders[usize::from(at)];
        own.stage = Stage::Holding;
        own.read_position = state.position;
        own.beaten = true;
        (own.holder, own.heartbeat, own.since) = (NOBODY, 0, 0);
    }

    fn faults(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let index = usize::from(at);
        if state.loaders[index].stalled {
            let mut after = *state;
            after.loaders[index].stalled = false;
            next.push(Next { step: Step::Resume(at), state: after, broken: None });
        }
        if state.faults >= self.faults || !self.holds(state, at) || state.loaders[index].stalled {
            return;
        }
        let mut dead = *state;
        dead.faults += 1;
        dead.allowed += 1;
        let mut stalled = dead;
        dead.loaders[index].stage = Stage::Dead;
        next.push(Next { step: Step::Die(at), state: dead, broken: None });
        stalled.loaders[index].stalled = true;
        next.push(Next { step: Step::Stall(at), state: stalled, broken: None });
    }
}
