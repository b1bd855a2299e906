//! Replicas: a section whose sources are read on a server that lags behind.
//!
//! A load takes its read position, asks the primary how far its write-ahead log (LSN) is, looks for a replica that has
//! replayed as much, and reads there; or it gives up and reads the primary. A connection may be moved to another replica.
//! All changes are made on the primary, at the LSN of their number. Their entries are appended in any order.

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

const CHANGES: usize = 3;
const REPLICAS: usize = 2;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplicaMutant {
    /// A replica is read like a primary.
    ReadAsAPrimary,
    /// The primary is asked before the read position is taken.
    AskedBeforeThePosition,
    /// A replica is looked at after the read.
    LookedAtAfterTheRead,
    /// The replica that was looked at need not be the one that is read.
    AnyReplica,
}

#[derive(Clone, Copy)]
pub(crate) struct Replicas {
    pub(crate) mutant: Option<ReplicaMutant>,
    /// Changes in the sources, each of the documents' user.
    pub(crate) changes: u8,
    pub(crate) replicas: u8,
}

/// A set of changes: one bit each.
type Set = u8;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Has taken its read position; by a broken rule, the primary's LSN.
    Begun,
    /// Has both.
    KnowsNeeded,
    /// Has looked at a replica that has replayed what is needed.
    Looked,
    /// Has read the sources.
    Read,
}

#[derive(Clone, Copy, Default)]
struct Load {
    stage: Stage,
    position: u8,
    needed: u8,
    replica: u8,
    knows: Set,
}

#[derive(Clone, Copy, Default)]
struct Document {
    is_there: bool,
    position: u8,
    knows: Set,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    /// The primary's LSN, which is the number of changes.
    lsn: u8,
    /// The change of each entry.
    log: [u8; CHANGES],
    length: u8,
    replayed: [u8; REPLICAS],
    load: Load,
    document: Document,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Change,
    Append(u8),
    Replay(u8),
    BeginLoad,
    AskPrimary,
    LookAt(u8),
    Read(u8),
    ReadPrimary,
    Finish,
    Serve,
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Change => formatter.write_str("a change is committed on the primary"),
            Self::Append(change) => write!(formatter, "the entry of change {change} is appended"),
            Self::Replay(replica) => write!(formatter, "replica {replica} replays a change"),
            Self::BeginLoad => formatter.write_str("a load begins"),
            Self::AskPrimary => formatter.write_str("the load asks the primary"),
            Self::LookAt(replica) => write!(formatter, "the load looks at replica {replica}"),
            Self::Read(replica) => write!(formatter, "the load reads replica {replica}"),
            Self::ReadPrimary => formatter.write_str("the load reads the primary"),
            Self::Finish => formatter.write_str("the load ends"),
            Self::Serve => formatter.write_str("the document is served"),
        }
    }
}

impl Model for Replicas {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State::default()
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        let ([one, two, three], [first, second]) = (state.log, state.replayed);
        fold.word(u64::from_le_bytes([state.lsn, one, two, three, state.length, first, second, 0]));
        let Document { is_there, position, knows } = state.document;
        fold.word(u64::from_le_bytes([is_there.into(), position, knows, 0, 0, 0, 0, 0]));
        let Load { stage, position, needed, replica, knows } = state.load;
        fold.word(u64::from_le_bytes([stage as u8, position, needed, replica, knows, 0, 0, 0]));
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if state.lsn < self.changes {
            next.push(step(Step::Change, State { lsn: state.lsn + 1, ..*state }));
        }
        let entries = &state.log[..usize::from(state.length)];
        for change in (1..=state.lsn).filter(|change| !entries.contains(change)) {
            let mut after = *state;
            after.log[usize::from(state.length)] = change;
            after.length += 1;
            next.push(step(Step::Append(change), after));
        }
        for replica in 0..self.replicas {
            if state.replayed[usize::from(replica)] < state.lsn {
                let mut after = *state;
                after.replayed[usize::from(replica)] += 1;
                next.push(step(Step::Replay(replica), after));
            }
        }
        self.load(state, next);
        let Document { is_there, position, knows } = state.document;
        // Every entry concerns the document.
        if is_there && position >= state.length {
            let missed = entries.iter().fold(0, |set, change| set | 1 << change) & !knows;
            if missed != 0 {
                let broken = Some(format!("a valid document misses changes {missed:b} that have entries"));
                next.push(Next { step: Step::Serve, state: *state, broken });
            }
        }
    }

    fn show(&self, state: &State) -> String {
        let Document { position, knows, .. } = state.document;
        let (lsn, replayed, log) = (state.lsn, state.replayed, &state.log[..usize::from(state.length)]);
        format!("lsn {lsn} replayed {replayed:?} log {log:?} document {position} knows {knows:b}")
    }
}

fn step(step: Step, state: State) -> Next<Replicas> {
    Next { step, state, broken: None }
}

/// The changes up to an LSN.
fn up_to(lsn: u8) -> Set {
    (1..=lsn).fold(0, |set, change| set | 1 << change)
}

impl Replicas {
    fn is(&self, mutant: ReplicaMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn load(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let load = state.load;
        let (needed, position) = (state.lsn, state.length);
        let asks_first = self.is(ReplicaMutant::AskedBeforeThePosition);
        match load.stage {
            Stage::Idle if asks_first => {
                let load = Load { stage: Stage::Begun, needed, ..load };
                next.push(step(Step::AskPrimary, State { load, ..*state }));
            }
            Stage::Idle => {
                let load = Load { stage: Stage::Begun, position, ..load };
                next.push(step(Step::BeginLoad, State { load, ..*state }));
            }
            Stage::Begun if asks_first => {
                let load = Load { stage: Stage::KnowsNeeded, position, ..load };
                next.push(step(Step::BeginLoad, State { load, ..*state }));
            }
            Stage::Begun => {
                let load = Load { stage: Stage::KnowsNeeded, needed, ..load };
                next.push(step(Step::AskPrimary, State { load, ..*state }));
            }
            Stage::KnowsNeeded => {
                let load = Load { stage: Stage::Read, needed: 0, knows: up_to(state.lsn), ..load };
                next.push(step(Step::ReadPrimary, State { load, ..*state }));
                for replica in 0..self.replicas {
                    self.look_at(state, replica, next);
                }
            }
            // On another replica, which shows in its start, the look is repeated.
            Stage::Looked => {
                for replica in (0..self.replicas).filter(|r| *r == load.replica || self.is(ReplicaMutant::AnyReplica)) {
                    let knows = up_to(state.replayed[usize::from(replica)]);
                    let load = Load { stage: Stage::Read, needed: 0, knows, ..load };
                    next.push(step(Step::Read(replica), State { load, ..*state }));
                }
            }
            Stage::Read if state.replayed[usize::from(load.replica)] >= load.needed => {
                let document = Document { is_there: true, position: load.position, knows: load.knows };
                next.push(step(Step::Finish, State { document, load: Load::default(), ..*state }));
            }
            Stage::Read => {}
        }
    }

    fn look_at(&self, state: &State, replica: u8, next: &mut Vec<Next<Self>>) {
        let (load, replayed) = (state.load, state.replayed[usize::from(replica)]);
        if self.is(ReplicaMutant::LookedAtAfterTheRead) {
            // What is needed is compared when the load ends.
            let load = Load { stage: Stage::Read, replica, knows: up_to(replayed), ..load };
            next.push(step(Step::Read(replica), State { load, ..*state }));
        } else if replayed >= load.needed || self.is(ReplicaMutant::ReadAsAPrimary) {
            let load = Load { stage: Stage::Looked, replica, ..load };
            next.push(step(Step::LookAt(replica), State { load, ..*state }));
        }
    }
}
