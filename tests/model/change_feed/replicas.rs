//! Replicas: the read position of a section whose sources were read on a server that lags behind.
//!
//! An entry of the log carries how far the primary's write-ahead log (LSN) was, asked after the change was visible. A load
//! asks a replica how far it has replayed, and then reads. Its read position is the end of the longest prefix of entries
//! that are all replayed, because LSNs are not monotone in position. A connection may be moved to another replica. All
//! changes are made on the primary, at the LSN of their number.

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

const CHANGES: usize = 3;
const REPLICAS: usize = 2;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplicaMutant {
    /// The read position is what the instance has applied, as on a primary.
    AppliedIsTheReadPosition,
    /// The read position is the highest entry that is replayed.
    HighestReplayed,
    /// Entries without an LSN are passed over.
    PassesOverUnknown,
    /// An entry's LSN is asked before its change is visible.
    AskedBeforeTheChange,
    /// The replica is asked after the read.
    AskedAfterTheRead,
    /// The replica that was asked need not be the one that is read.
    AnyReplica,
}

#[derive(Clone, Copy)]
pub(crate) struct Replicas {
    pub(crate) mutant: Option<ReplicaMutant>,
    /// Changes in the sources, each of the documents' user.
    pub(crate) changes: u8,
    pub(crate) replicas: u8,
    /// Entries may lose their LSN, and get one from a later round.
    pub(crate) unknown: bool,
}

/// A set of changes: one bit each.
type Set = u8;

/// An entry of the log. Change 0: none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    /// Its number, from 1.
    change: u8,
    /// 0: unknown.
    lsn: u8,
}

/// The relay's work on one change.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Relaying {
    #[default]
    Idle,
    /// Has asked the primary, and appends later.
    KnowsLsn(u8),
    Appended,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Has taken the entries that it has applied as a bound.
    Begun,
    /// Has asked the replica.
    KnowsLsn,
    /// Has read the sources.
    Read,
}

#[derive(Clone, Copy, Default)]
struct Load {
    stage: Stage,
    applied: u8,
    replica: u8,
    replayed: u8,
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
    relaying: [Relaying; CHANGES],
    log: [Entry; CHANGES],
    length: u8,
    replayed: [u8; REPLICAS],
    load: Load,
    document: Document,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Change,
    Ask(u8),
    Append(u8, bool),
    Learn(u8),
    Replay(u8),
    BeginLoad,
    AskReplica(u8),
    Read(u8),
    Finish,
    Serve,
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Change => formatter.write_str("a change is committed on the primary"),
            Self::Ask(change) => write!(formatter, "the primary is asked for the LSN of change {change}"),
            Self::Append(change, true) => write!(formatter, "the entry of change {change} is appended"),
            Self::Append(change, false) => write!(formatter, "the entry of change {change} is appended without an LSN"),
            Self::Learn(position) => write!(formatter, "the entry at {position} gets an LSN"),
            Self::Replay(replica) => write!(formatter, "replica {replica} replays a change"),
            Self::BeginLoad => formatter.write_str("a load begins"),
            Self::AskReplica(replica) => write!(formatter, "the load asks replica {replica}"),
            Self::Read(replica) => write!(formatter, "the load reads replica {replica}"),
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
        let relaying = |one: &Relaying| match *one {
            Relaying::Idle => 0,
            Relaying::KnowsLsn(lsn) => 8 | u64::from(lsn),
            Relaying::Appended => 7,
        };
        fold.word(state.relaying.iter().fold(u64::from(state.lsn), |word, one| word << 8 | relaying(one)));
        fold.word(state.log.iter().fold(0, |word, one| word << 8 | u64::from(one.change | one.lsn << 4)));
        let Document { is_there, position, knows } = state.document;
        let [one, two] = state.replayed;
        fold.word(u64::from_le_bytes([state.length, one, two, is_there.into(), position, knows, 0, 0]));
        let Load { stage, applied, replica, replayed, knows } = state.load;
        fold.word(u64::from_le_bytes([stage as u8, applied, replica, replayed, knows, 0, 0, 0]));
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if state.lsn < self.changes {
            let mut after = *state;
            after.lsn += 1;
            next.push(step(Step::Change, after));
        }
        for change in 1..=self.changes {
            self.relay(state, change, next);
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
            let log = state.log[..usize::from(state.length)].iter();
            let missed = log.fold(0, |set, entry| set | 1 << entry.change) & !knows;
            if missed != 0 {
                let broken = Some(format!("a valid document misses changes {missed:b} that have entries"));
                next.push(Next { step: Step::Serve, state: *state, broken });
            }
        }
    }

    fn show(&self, state: &State) -> String {
        let Document { position, knows, .. } = state.document;
        let entry = |entry: &Entry| format!("{}@{}", entry.change, entry.lsn);
        let log: Vec<String> = state.log[..usize::from(state.length)].iter().map(entry).collect();
        let log = log.join(" ");
        format!("lsn {} replayed {:?} log [{log}] document {position} knows {knows:b}", state.lsn, state.replayed)
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

    fn relay(&self, state: &State, change: u8, next: &mut Vec<Next<Self>>) {
        let index = usize::from(change) - 1;
        let is_visible = state.lsn >= change;
        match state.relaying[index] {
            Relaying::Idle if is_visible || self.is(ReplicaMutant::AskedBeforeTheChange) => {
                let mut after = *state;
                after.relaying[index] = Relaying::KnowsLsn(state.lsn.max(1));
                next.push(step(Step::Ask(change), after));
            }
            Relaying::KnowsLsn(lsn) if is_visible => {
                for known in [true, false] {
                    if known || self.unknown {
                        let mut after = *state;
                        after.relaying[index] = Relaying::Appended;
                        after.log[usize::from(state.length)] = Entry { change, lsn: if known { lsn } else { 0 } };
                        after.length += 1;
                        next.push(step(Step::Append(change, known), after));
                    }
                }
            }
            Relaying::Idle | Relaying::KnowsLsn(_) | Relaying::Appended => {}
        }
        // A completed round gives an entry the LSN of now.
        if state.length > index as u8 && state.log[index].lsn == 0 {
            let mut after = *state;
            after.log[index].lsn = state.lsn;
            next.push(step(Step::Learn(change), after));
        }
    }

    fn load(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let load = state.load;
        let mut after = *state;
        let own = &mut after.load;
        match load.stage {
            Stage::Idle => {
                *own = Load { stage: Stage::Begun, applied: state.length, ..Load::default() };
                next.push(step(Step::BeginLoad, after));
            }
            Stage::Begun if self.is(ReplicaMutant::AskedAfterTheRead) => {
                for replica in 0..self.replicas {
                    let knows = up_to(state.replayed[usize::from(replica)]);
                    let mut after = *state;
                    after.load = Load { stage: Stage::Read, replica, knows, ..load };
                    next.push(step(Step::Read(replica), after));
                }
            }
            Stage::Begun => {
                for replica in 0..self.replicas {
                    let replayed = state.replayed[usize::from(replica)];
                    let mut after = *state;
                    after.load = Load { stage: Stage::KnowsLsn, replica, replayed, ..load };
                    next.push(step(Step::AskReplica(replica), after));
                }
            }
            // On another replica, which shows in its start, the load is begun anew.
            Stage::KnowsLsn => {
                for replica in 0..self.replicas {
                    if replica == load.replica || self.is(ReplicaMutant::AnyReplica) {
                        let knows = up_to(state.replayed[usize::from(replica)]);
                        let mut after = *state;
                        after.load = Load { stage: Stage::Read, knows, ..load };
                        next.push(step(Step::Read(replica), after));
                    }
                }
            }
            Stage::Read => {
                let asked_late = self.is(ReplicaMutant::AskedAfterTheRead);
                let replayed = if asked_late { state.replayed[usize::from(load.replica)] } else { load.replayed };
                let position = self.read_position(state, load.applied, replayed);
                after.document = Document { is_there: true, position, knows: load.knows };
                after.load = Load::default();
                next.push(step(Step::Finish, after));
            }
        }
    }

    fn read_position(&self, state: &State, applied: u8, replayed: u8) -> u8 {
        if self.is(ReplicaMutant::AppliedIsTheReadPosition) {
            return applied;
        }
        let passes_over = self.is(ReplicaMutant::PassesOverUnknown);
        let is_replayed = |entry: &Entry| (entry.lsn != 0 || passes_over) && entry.lsn <= replayed;
        let entries = &state.log[..usize::from(applied)];
        let end = match self.is(ReplicaMutant::HighestReplayed) {
            true => entries.iter().rposition(is_replayed).map_or(0, |index| index + 1),
            false => entries.iter().position(|entry| !is_replayed(entry)).unwrap_or(entries.len()),
        };
        end as u8
    }
}
