//! The protocol's steps: what may happen next in a state.
//!
//! Each step is atomic in reality: one statement of the database, one critical section, one message. Between any two steps
//! every other participant may act. Slowness (a frozen database, a paused process, a slow source) is a step that is not
//! taken for a while.

mod catch_up;
mod faults;
mod invalidations;
mod loads;
mod requests;

use std::fmt::{self, Display, Formatter};

use crate::{
    configurations::Configuration,
    explore::{Model, Next},
    mutants::Mutant,
    state::{Phase, Set, State, Used, instance},
};

/// One configuration of the protocol, whole or with one rule broken.
pub(crate) struct Protocol {
    pub(crate) configuration: Configuration,
    pub(crate) mutant: Option<Mutant>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Tick,
    Call { invalidation: u8, at: u8 },
    Draw { invalidation: u8 },
    Commit { invalidation: u8 },
    Acknowledge { invalidation: u8 },
    Send { at: u8 },
    ReadHead { at: u8 },
    Replace { at: u8 },
    ApplyRows { at: u8 },
    Extend { at: u8 },
    Arrive { request: u8, at: u8 },
    GiveUp { request: u8 },
    Look { request: u8 },
    FindInRedis { at: u8, load: u8, stored: u8 },
    FindInTable { at: u8, load: u8 },
    BeginReads { at: u8, load: u8 },
    Finish { at: u8, load: u8, partial: bool },
    Write { write: u8, stored: bool },
    Crash { at: u8 },
    Lose { to: u8 },
    Trim { to: u8 },
    Prune { at: u8 },
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Tick => "time passes".to_owned(),
            Self::Call { invalidation, at } => format!("invalidation #{invalidation} is called at {}", instance(at)),
            Self::Draw { invalidation } => format!("#{invalidation} draws its position"),
            Self::Commit { invalidation } => format!("#{invalidation} is committed"),
            Self::Acknowledge { invalidation } => format!("#{invalidation} is acknowledged"),
            Self::Send { at } => format!("{} sends its read of the log", instance(at)),
            Self::ReadHead { at } => format!("{} reads the log's head", instance(at)),
            Self::Replace { at } => format!("{} replaces the epoch", instance(at)),
            Self::ApplyRows { at } => format!("{} reads the log's rows and applies them", instance(at)),
            Self::Extend { at } => format!("{} renews its lease", instance(at)),
            Self::Arrive { request, at } => format!("request {request} arrives at {}", instance(at)),
            Self::GiveUp { request } => format!("request {request} waits no longer for the log"),
            Self::Look { request } => format!("request {request} looks into memory, else joins or starts a load"),
            Self::FindInRedis { at, load, stored } => {
                format!("{}'s load {load} gets value {stored} from Redis", instance(at))
            }
            Self::FindInTable { at, load } => format!("{}'s load {load} gets the table's row", instance(at)),
            Self::BeginReads { at, load } => {
                format!("{}'s load {load} starts to read the sources", instance(at))
            }
            Self::Finish { at, load, partial } => {
                let how = if partial { ", one section failed" } else { "" };
                format!("{}'s load {load} ends{how}", instance(at))
            }
            Self::Write { write, stored } => {
                format!("write {write} {}", if stored { "reaches the table" } else { "is lost" })
            }
            Self::Crash { at } => format!("{} crashes and starts again", instance(at)),
            Self::Lose { to } => format!("the database loses its commits after position {to}"),
            Self::Trim { to } => format!("the log is trimmed up to position {to}"),
            Self::Prune { at } => format!("{} drops the key's invalidations", instance(at)),
        };
        formatter.write_str(&text)
    }
}

/// The successors found so far.
struct Steps<'a> {
    next: &'a mut Vec<Next<Protocol>>,
}

impl Steps<'_> {
    fn add(&mut self, step: Step, state: State) {
        self.next.push(Next { step, state, broken: None });
    }

    fn judged(&mut self, step: Step, state: State, broken: Option<String>) {
        self.next.push(Next { step, state, broken });
    }
}

impl Model for Protocol {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut state = State::default();
        state.database.epoch = 1;
        if self.configuration.started {
            for one in &mut state.instances {
                one.caught_up = true;
                one.epoch = 1;
                one.lease_left = self.configuration.lease;
            }
        }
        state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let used = self.used();
        let fingerprint = state.fingerprint([0, 1, 2], used);
        match self.configuration.instances {
            1 => fingerprint,
            // Instances do not differ, so swapping their names changes nothing.
            _ => fingerprint.min(state.fingerprint([1, 0, 2], used)),
        }
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let asked = &state.requests[..self.configuration.requests.len()];
        if asked.iter().all(|request| request.phase == Phase::Answered) && !self.configuration.row {
            return; // no request is left that a promise could be broken to
        }
        let mut steps = Steps { next };
        self.time(state, &mut steps);
        self.invalidations(state, &mut steps);
        self.requests(state, &mut steps);
        for at in 0..self.configuration.instances as u8 {
            self.catch_up(state, at, &mut steps);
            self.loads(state, at, &mut steps);
        }
        self.writes(state, &mut steps);
        self.faults(state, &mut steps);
    }

    fn show(&self, state: &State) -> String {
        state.show(self.used())
    }
}

impl Protocol {
    fn used(&self) -> Used {
        Used {
            instances: self.configuration.instances,
            invalidations: self.configuration.invalidations.len(),
            requests: self.configuration.requests.len(),
            redis: self.configuration.redis,
            row: self.configuration.row,
            alike: self.configuration.requests.windows(2).all(|pair| pair[0] == pair[1]),
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn instances(&self) -> std::ops::Range<u8> {
        0..self.configuration.instances as u8
    }

    fn sections(&self) -> std::ops::Range<usize> {
        0..self.configuration.sections
    }

    pub(crate) fn all(&self) -> Set {
        (1 << self.configuration.invalidations.len()) - 1
    }
}
