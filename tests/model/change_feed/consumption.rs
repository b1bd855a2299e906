//! Consumption: which notes of the outbox a cluster has read, while transactions commit in any order.
//!
//! Transactions get their numbers (xid) when they first write, and commit or roll back at any later time. What a cluster
//! has consumed is a snapshot of the sources, stored with the invalidations in one commit of the log's database. Two
//! relays of one cluster may be at work at the same time, one of them a former holder that is slow. Two clusters trim
//! one outbox. The sources' PostgreSQL may crash and give numbers again, or be restored; so may the log's database.

mod relay;
mod world;

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

pub(super) const TRANSACTIONS: usize = 3;
pub(super) const CLUSTERS: usize = 2;
pub(super) const RELAYS: usize = 2;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsumptionMutant {
    /// What is consumed is a highest number, without the transactions that still run.
    OnlyTheHighestNumber,
    /// The snapshot is taken by a statement after the one that reads the notes.
    SnapshotAfterTheNotes,
    /// What is consumed is stored by a commit before that of the invalidations.
    StoredBeforeAppended,
    /// What is consumed is stored by a commit after that of the invalidations.
    StoredAfterAppended,
    /// What is stored is replaced, whatever it is by then.
    NoCompareAndSet,
    /// `trimmed_below` is read by a statement before the one that reads the notes.
    TrimmedBelowReadApart,
    /// `trimmed_below` is not looked at.
    IgnoresTrimming,
    /// `trimmed_below` is raised by a transaction after the one that trims.
    RaisedAfterTrimming,
    /// A cluster trims what it has consumed itself.
    TrimsForItself,
    /// The consumer row says what is read, not what is stored.
    ReportsBeforeItIsStored,
    /// A cluster that registers begins its epoch before it takes the snapshot.
    EpochBeforeSnapshot,
    /// The timeline of the sources is not looked at.
    IgnoresTheTimeline,
    /// A new start of the sources' PostgreSQL is not looked at: its last commits may be gone.
    IgnoresAStart,
    /// After a new start, transactions whose numbers are given again count as consumed.
    TrustsNumbersAfterAStart,
    /// The outbox is trimmed by consumer rows that were written before the server's last start.
    TrimsByRowsOfAnotherStart,
}

#[derive(Clone, Copy)]
pub(crate) struct Consumption {
    pub(crate) mutant: Option<ConsumptionMutant>,
    pub(crate) transactions: usize,
    /// The cluster of each relay.
    pub(crate) relays: &'static [u8],
    /// The second cluster is registered from the start.
    pub(crate) both_registered: bool,
    pub(crate) trims: u8,
    /// Consumers that are dropped.
    pub(crate) drops: u8,
    /// Crashes of the sources' PostgreSQL.
    pub(crate) crashes: u8,
    /// Restores of the sources.
    pub(crate) restores: u8,
    /// Restores of the log's database.
    pub(crate) log_restores: u8,
    /// Relays that die or give up.
    pub(crate) deaths: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Idle,
    Running,
    Committed,
    /// Rolled back, or lost.
    Gone,
}

#[derive(Clone, Copy, Default)]
struct Transaction {
    progress: Progress,
    number: u8,
}

/// A `pg_snapshot`, and the server that gave it. `next` 0: none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Snapshot {
    /// Transactions from this number on had not begun.
    next: u8,
    /// One bit per number.
    running: u8,
    timeline: u8,
    start: u8,
}

impl Snapshot {
    fn sees(self, number: u8) -> bool {
        number < self.next && self.running & 1 << number == 0
    }

    /// All numbers below it are visible.
    fn all_below(self) -> u8 {
        (1..self.next).find(|number| self.running & 1 << number != 0).unwrap_or(self.next)
    }

    fn word(self) -> u64 {
        u64::from(u32::from_le_bytes([self.next, self.running, self.timeline, self.start]))
    }
}

/// A set of changes: one bit each.
type Set = u8;
/// The loss of the sources' last commits: what was read in the seconds before is invalidated.
const RESTART: Set = 1 << 7;
/// The loss of all their commits: only a new epoch invalidates enough.
const RESTORED: Set = 1 << 6;

#[derive(Clone, Copy, Default)]
struct Sources {
    next: u8,
    timeline: u8,
    start: u8,
    transactions: [Transaction; TRANSACTIONS],
    /// Transactions whose note is in the outbox.
    notes: Set,
    /// (A broken variant only) what `trimmed_below` is about to become.
    trimming: u8,
    trimmed_below: u8,
    /// The consumer rows. None: not registered.
    consumers: [Snapshot; CLUSTERS],
    /// What a document must know that is read now.
    committed: Set,
}

#[derive(Clone, Copy, Default)]
struct Cluster {
    stored: Snapshot,
    /// Changes that bind every document of the epoch: they were committed when it began, or have an entry.
    known: Set,
    /// Changes with an entry in this epoch.
    appended: Set,
    /// The outbox was trimmed without it, or its database was restored: a new epoch is no false alarm.
    excused: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// (A broken variant only) has read `trimmed_below`, or the notes without a snapshot.
    Half,
    Read,
    /// (Broken variants only) one of two commits is done.
    HalfDone,
}

#[derive(Clone, Copy, Default)]
struct Relay {
    stage: Stage,
    /// Changes committed when its round began.
    must: Set,
    before: Snapshot,
    read: Snapshot,
    rows: Set,
    trimmed_below: u8,
    /// What it has read does not continue what is stored.
    gap: bool,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    sources: Sources,
    clusters: [Cluster; CLUSTERS],
    relays: [Relay; RELAYS],
    trims: u8,
    drops: u8,
    crashes: u8,
    restores: u8,
    log_restores: u8,
    deaths: u8,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Begin(u8),
    Commit(u8),
    RollBack(u8),
    Half(u8),
    Read(u8),
    Store(u8),
    StoreRest(u8),
    Die(u8),
    Report(u8),
    Trim(u8),
    Raise,
    Drop(u8),
    Crash(u8),
    Restore,
    RestoreLog(u8),
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Begin(one) => write!(formatter, "transaction #{one} writes"),
            Self::Commit(one) => write!(formatter, "#{one} commits"),
            Self::RollBack(one) => write!(formatter, "#{one} rolls back"),
            Self::Half(at) => write!(formatter, "relay {at}'s first statement is executed"),
            Self::Read(at) => write!(formatter, "relay {at} reads the outbox"),
            Self::Store(at) => write!(formatter, "relay {at} commits to the log"),
            Self::StoreRest(at) => write!(formatter, "relay {at} commits the rest"),
            Self::Die(at) => write!(formatter, "relay {at} dies, or gives up"),
            Self::Report(cluster) => write!(formatter, "cluster {cluster} writes its consumer row"),
            Self::Trim(cluster) => write!(formatter, "cluster {cluster} trims the outbox"),
            Self::Raise => formatter.write_str("trimmed_below is raised"),
            Self::Drop(cluster) => write!(formatter, "the consumer row of cluster {cluster} is dropped"),
            Self::Crash(back) => write!(formatter, "the sources crash and give the last {back} numbers again"),
            Self::Restore => formatter.write_str("the sources are restored"),
            Self::RestoreLog(cluster) => write!(formatter, "the log's database of cluster {cluster} is restored"),
        }
    }
}

impl Model for Consumption {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut state = State::default();
        state.sources.next = 1;
        let now = state.sources.snapshot();
        let clusters = if self.both_registered { CLUSTERS } else { 1 };
        for cluster in 0..clusters {
            state.sources.consumers[cluster] = now;
            state.clusters[cluster].stored = now;
        }
        state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        let sources = &state.sources;
        fold.word(u64::from_le_bytes([
            sources.next,
            sources.timeline | sources.start << 4,
            sources.notes,
            sources.trimmed_below | sources.trimming << 4,
            sources.committed,
            state.trims | state.drops << 4,
            state.crashes | state.restores << 4,
            state.log_restores | state.deaths << 4,
        ]));
        let all = sources.transactions.iter();
        fold.word(all.fold(0, |word, one| word << 8 | u64::from(one.progress as u8 | one.number << 4)));
        for (cluster, consumer) in state.clusters.iter().zip(&sources.consumers) {
            fold.word(consumer.word() | cluster.stored.word() << 32);
            fold.word(u64::from_le_bytes([cluster.known, cluster.appended, cluster.excused.into(), 0, 0, 0, 0, 0]));
        }
        for one in &state.relays {
            fold.word(one.before.word() | one.read.word() << 32);
            let did = one.stage as u8 | u8::from(one.gap) << 4;
            fold.word(u64::from_le_bytes([did, one.must, one.rows, one.trimmed_below, 0, 0, 0, 0]));
        }
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        self.writers(state, next);
        for at in 0..self.relays.len() as u8 {
            self.relay(state, at, next);
        }
        for cluster in 0..CLUSTERS as u8 {
            if self.relays.contains(&cluster) {
                self.consumer_row(state, cluster, next);
            }
        }
        self.faults(state, next);
    }

    fn show(&self, state: &State) -> String {
        let sources = &state.sources;
        let mut text =
            format!("next {} notes {:b} trimmed below {}", sources.next, sources.notes, sources.trimmed_below);
        for (one, consumer) in state.clusters.iter().zip(&sources.consumers).take(self.clusters()) {
            let Snapshot { next, running, .. } = one.stored;
            text += &format!(" | stored {next}:{running:b} row {} knows {:b}", consumer.next, one.known);
        }
        text
    }
}

impl Consumption {
    fn is(&self, mutant: ConsumptionMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn clusters(&self) -> usize {
        self.relays.iter().max().map_or(0, |last| usize::from(*last) + 1)
    }
}

fn step(step: Step, state: State) -> Next<Consumption> {
    Next { step, state, broken: None }
}
