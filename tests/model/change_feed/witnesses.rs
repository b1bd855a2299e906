//! Witnesses: what shows an instance that starts that the log's database has lost commits.
//!
//! Redis keeps documents of the lost timeline, so a restore of PostgreSQL while the service is stopped would revive them. A
//! witness per epoch says how far the log had come, and with which entry. It is raised before an invalidation is
//! acknowledged and before a document at that position is stored, and it is ended before another epoch begins. Two
//! instances die and start; the database loses its last records.

mod instance;

use std::fmt::{self, Display, Formatter};

use crate::{
    explore::{Fold, Model, Next},
    state::instance as name,
};

const INSTANCES: usize = 2;
const RECORDS: usize = 5;
const EPOCHS: usize = 4;
const DOCUMENTS: usize = 2;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WitnessMutant {
    /// An instance starts without looking at the witness.
    NoWitness,
    /// The witness is read after the head.
    HeadBeforeWitness,
    /// A document is judged by the head that was known before it was read.
    HeadBeforeDocument,
    /// Only positions are compared, not the entries there.
    OnlyPositions,
    /// A witness is raised without asking whether the log still has the entry that it names.
    RaisedUnchecked,
    /// An invalidation is acknowledged before the witness is raised.
    AcknowledgesBeforeTheWitness,
    /// A document is stored before the witness is raised.
    StoresBeforeTheWitness,
    /// The witness of an epoch is left as it is when another one begins.
    EpochNotEnded,
    /// Epochs are counted: one that was lost is begun again.
    EpochsAreCounted,
}

/// A set of invalidations: one bit each. The last bit is an epoch that a relay has begun.
type Set = u8;
const RENEWAL: Set = 1 << 7;

#[derive(Clone, Copy)]
pub(crate) struct Witnesses {
    pub(crate) mutant: Option<WitnessMutant>,
    /// Whether each invalidation concerns the documents' user.
    pub(crate) invalidations: &'static [bool],
    pub(crate) deaths: u8,
    pub(crate) losses: u8,
    /// Epochs begun by a relay, because the sources are others.
    pub(crate) renewals: u8,
    /// Commits may be lost that the living instances have not applied. Only an instance that starts later is judged.
    pub(crate) lost_while_alive: bool,
}

/// A record of the log's database.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Record {
    #[default]
    None,
    Entry(u8),
    Epoch(u8),
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    position: u8,
    /// The entry there, plus one. 0: none.
    entry: u8,
    /// Another epoch has begun.
    is_ended: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Document {
    /// 0: no document.
    epoch: u8,
    position: u8,
    knows: Set,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Running,
    Down,
    /// Has read the witness, or (in a broken variant) the head.
    Starting,
    /// Has appended this invalidation; its witness is not raised.
    Appended(u8),
    /// Has read a document of a higher position than its own; reads the head.
    Judging(u8),
}

#[derive(Clone, Copy, Default)]
struct Instance {
    stage: Stage,
    epoch: u8,
    applied: Mark,
    /// The witnesses that it has read.
    witnesses: [Mark; EPOCHS],
    /// It began to start after the last loss.
    is_judged: bool,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    log: [Record; RECORDS],
    witnesses: [Mark; EPOCHS],
    documents: [Document; DOCUMENTS],
    instances: [Instance; INSTANCES],
    called: Set,
    acknowledged: Set,
    /// Names of epochs given so far.
    epochs: u8,
    deaths: u8,
    losses: u8,
    renewals: u8,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Append { at: u8, invalidation: u8 },
    Acknowledge { at: u8 },
    CatchUp { at: u8 },
    Renew { at: u8 },
    Load { at: u8 },
    Find { at: u8, document: u8 },
    Judge { at: u8 },
    Serve { at: u8, document: u8 },
    Die { at: u8 },
    BeginStart { at: u8 },
    EndStart { at: u8 },
    Lose { to: u8 },
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (at, what) = match *self {
            Self::Lose { to } => return write!(formatter, "the database loses its records after {to}"),
            Self::Append { at, invalidation } => (at, format!("appends invalidation #{invalidation}")),
            Self::Acknowledge { at } => (at, "raises the witness and acknowledges".to_owned()),
            Self::CatchUp { at } => (at, "reads the log".to_owned()),
            Self::Renew { at } => (at, "begins an epoch, because the sources are others".to_owned()),
            Self::Load { at } => (at, "loads a document and stores it".to_owned()),
            Self::Find { at, document } => (at, format!("finds document {document}, of a higher position")),
            Self::Judge { at } => (at, "reads the head, to judge the document".to_owned()),
            Self::Serve { at, document } => (at, format!("serves document {document}")),
            Self::Die { at } => (at, "dies".to_owned()),
            Self::BeginStart { at } => (at, "starts and reads the witness".to_owned()),
            Self::EndStart { at } => (at, "reads the head, and runs".to_owned()),
        };
        write!(formatter, "{} {what}", name(at))
    }
}

impl Model for Witnesses {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut state = State { epochs: 1, ..State::default() };
        state.log[0] = Record::Epoch(1);
        state.instances.iter_mut().for_each(|one| one.epoch = 1);
        state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        state.fold([0, 1]).min(state.fold([1, 0]))
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for at in 0..INSTANCES as u8 {
            self.instance(state, at, next);
        }
        if state.losses < self.losses {
            self.lose(state, next);
        }
    }

    fn show(&self, state: &State) -> String {
        let mut text = format!("log {}:{}", state.epoch(), state.head().position);
        for (epoch, one) in state.witnesses.iter().enumerate().skip(1).take(state.epochs.into()) {
            text += &format!(" witness {epoch}:{}{}", one.position, if one.is_ended { " ended" } else { "" });
        }
        for one in state.documents.iter().filter(|one| one.epoch > 0) {
            text += &format!(" | document {}:{} knows {:b}", one.epoch, one.position, one.knows);
        }
        text
    }
}

impl Witnesses {
    fn lose(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for to in 1..state.length() {
            let mut after = *state;
            after.losses += 1;
            after.log[to..].fill(Record::None);
            after.instances.iter_mut().for_each(|one| one.is_judged = false);
            let lacks =
                |one: &Instance| self.lost_while_alive && one.stage == Stage::Running && after.has(one.applied, false);
            if state.instances.iter().all(|one| one.stage == Stage::Down || lacks(one)) {
                next.push(step(Step::Lose { to: to as u8 }, after));
            }
        }
    }
}

impl State {
    fn length(&self) -> usize {
        self.log.iter().position(|record| *record == Record::None).unwrap_or(RECORDS)
    }

    fn epoch(&self) -> u8 {
        let epoch = |record: &Record| if let Record::Epoch(epoch) = record { Some(*epoch) } else { None };
        self.log.iter().filter_map(epoch).next_back().unwrap_or_default()
    }

    fn entries(&self) -> impl Iterator<Item = u8> + '_ {
        self.log.iter().filter_map(|record| if let Record::Entry(entry) = record { Some(*entry) } else { None })
    }

    fn head(&self) -> Mark {
        let (position, last) = self.entries().fold((0, 0), |(position, _), entry| (position + 1, entry + 1));
        Mark { position, entry: last, is_ended: false }
    }

    /// The positions above which the log's epoch has entries.
    fn floor(&self) -> u8 {
        let begin = self.log.iter().rposition(|record| matches!(record, Record::Epoch(_))).unwrap_or_default();
        self.log[..begin].iter().filter(|record| matches!(record, Record::Entry(_))).count() as u8
    }

    /// Whether the log has what a witness of its epoch, or an instance, has seen.
    fn has(&self, mark: Mark, only_positions: bool) -> bool {
        let there = self.entries().nth(usize::from(mark.position).wrapping_sub(1)).map_or(0, |entry| entry + 1);
        !mark.is_ended && self.head().position >= mark.position && (only_positions || there == mark.entry)
    }

    fn fold(&self, order: [usize; INSTANCES]) -> u64 {
        let mut fold = Fold(0);
        let record = |record: &Record| match *record {
            Record::None => 0,
            Record::Entry(entry) => 0x10 | u64::from(entry),
            Record::Epoch(epoch) => 0x20 | u64::from(epoch),
        };
        fold.word(self.log.iter().fold(0, |word, one| word << 8 | record(one)));
        fold.word(marks(&self.witnesses));
        let given = self.epochs | self.deaths << 4;
        let faults = self.losses | self.renewals << 4;
        fold.word(u64::from_le_bytes([self.called, self.acknowledged, given, faults, 0, 0, 0, 0]));
        for index in order {
            let one = &self.instances[index];
            let stage = match one.stage {
                Stage::Running => 0,
                Stage::Down => 1,
                Stage::Starting => 2,
                Stage::Appended(invalidation) => 0x10 | invalidation,
                Stage::Judging(position) => 0x20 | position,
            };
            fold.word(marks(&one.witnesses));
            fold.word(u64::from_le_bytes([stage, one.epoch, one.applied.word(), one.is_judged.into(), 0, 0, 0, 0]));
        }
        let mut documents = self.documents.map(|one| u32::from_le_bytes([one.epoch, one.position, one.knows, 0]));
        documents.sort_unstable();
        documents.iter().for_each(|one| fold.word(u64::from(*one)));
        fold.done()
    }
}

impl Mark {
    fn word(self) -> u8 {
        self.position | self.entry << 4 | u8::from(self.is_ended) << 7
    }
}

fn marks(marks: &[Mark; EPOCHS]) -> u64 {
    marks.iter().fold(0, |word, one| word << 8 | u64::from(one.word()))
}

fn step(step: Step, state: State) -> Next<Witnesses> {
    Next { step, state, broken: None }
}
