//! What a reader's polls of the rounds are worth when another epoch of the log begins.
//!
//! A relay begins an epoch instead of appending what it has read, or a reader does, because the log's database has lost
//! its last commits (and with them the table of rounds). The reader forgets nothing of its polls then: every document of
//! the new epoch is read after it began. One relay, one reader with two polls in flight, and a document that is loaded
//! at any time. Changes are counted, as in `rounds.rs`.

mod reader;

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

const POLLS: usize = 2;
const ROUNDS: usize = 5;
const ENTRIES: usize = 4;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochMutant {
    /// The relay takes the snapshot after it has begun the epoch.
    EpochBeforeSnapshot,
    /// Documents of another epoch stay valid.
    KeepsDocuments,
    /// A poll's head is compared with what is applied of another epoch.
    HeadOfAnotherEpoch,
    /// The entry at the head is not compared with the one that the poll has seen there.
    HeadNotCompared,
}

#[derive(Clone, Copy)]
pub(crate) struct Epochs {
    pub(crate) mutant: Option<EpochMutant>,
    pub(crate) changes: u8,
    pub(crate) polls: u8,
    pub(crate) rounds: u8,
    /// Epochs that a relay begins.
    pub(crate) renewals: u8,
    /// Losses of the log's last commits.
    pub(crate) losses: u8,
    /// Invalidations of others, which only take a position.
    pub(crate) plain: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    /// Changes up to which it invalidates. 0: none, it is of another document.
    changes: u8,
    /// 0: no entry.
    nonce: u8,
}

#[derive(Clone, Copy, Default)]
struct Row {
    round: u8,
    completed: u8,
    birth: u8,
}

#[derive(Clone, Copy, Default)]
struct Database {
    epoch: u8,
    floor: u8,
    length: u8,
    log: [Entry; ENTRIES],
    stored: u8,
    /// Of what is stored: fresh in each commit.
    version: u8,
    newest: Row,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Holding,
    Read,
    /// (A broken variant only) has begun an epoch, and takes the snapshot next.
    Begun,
    Durable,
}

#[derive(Clone, Copy, Default)]
struct Relay {
    stage: Stage,
    version: u8,
    read: u8,
}

#[derive(Clone, Copy, Default)]
struct Poll {
    is_sent: bool,
    is_executed: bool,
    has_arrived: bool,
    must: u8,
    row: Row,
    epoch: u8,
    head: u8,
    nonce: u8,
}

#[derive(Clone, Copy, Default)]
struct Copied {
    /// 0: none.
    epoch: u8,
    position: u8,
    knows: u8,
}

#[derive(Clone, Copy, Default)]
struct Reader {
    epoch: u8,
    floor: u8,
    applied: u8,
    nonce: u8,
    /// The last entry of the document.
    last: u8,
    birth: u8,
    polled: [u8; ROUNDS + 1],
    polls: [Poll; POLLS],
    /// Verified answers know at least so many changes.
    certified: u8,
    load: Copied,
    document: Copied,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    committed: u8,
    database: Database,
    relay: Relay,
    reader: Reader,
    nonces: u8,
    births: u8,
    epochs: u8,
    renewals: u8,
    losses: u8,
    plain: u8,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Commit,
    Plain,
    ReadOutbox,
    Append,
    Renew,
    Snapshot,
    Complete,
    BeginTable,
    Lose,
    SendPoll(u8),
    Execute(u8),
    Arrive(u8),
    Certify(u8),
    CatchUp,
    Load,
    ReadSources,
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match *self {
            Self::Commit => "a writer commits a change",
            Self::Plain => "another document is invalidated",
            Self::ReadOutbox => "the relay reads the outbox",
            Self::Append => "the relay commits invalidations and what is consumed",
            Self::Renew => "the relay begins an epoch",
            Self::Snapshot => "the relay takes and stores a snapshot",
            Self::Complete => "the relay completes its round",
            Self::BeginTable => "the relay begins the table of rounds again",
            Self::Lose => "the log's database loses its last commit, and the rounds",
            Self::SendPoll(0) => "poll 0 is sent",
            Self::SendPoll(_) => "poll 1 is sent",
            Self::Execute(0) => "poll 0 is executed",
            Self::Execute(_) => "poll 1 is executed",
            Self::Arrive(0) => "poll 0's answer arrives",
            Self::Arrive(_) => "poll 1's answer arrives",
            Self::Certify(0) => "the reader certifies from poll 0",
            Self::Certify(_) => "the reader certifies from poll 1",
            Self::CatchUp => "the reader reads the log",
            Self::Load => "a load begins",
            Self::ReadSources => "the load reads the sources",
        })
    }
}

impl Model for Epochs {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut state = State { births: 1, epochs: 1, nonces: 1, ..State::default() };
        state.database.epoch = 1;
        state.database.newest = Row { round: 1, completed: 0, birth: 1 };
        (state.reader.epoch, state.reader.birth) = (1, 1);
        state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        let Database { epoch, floor, length, log, stored, version, newest } = state.database;
        fold.word(u64::from_le_bytes([
            state.committed,
            epoch,
            floor,
            length,
            stored,
            version,
            newest.round,
            newest.completed,
        ]));
        fold.word(
            log.iter().fold(u64::from(newest.birth), |word, one| word << 8 | u64::from(one.changes | one.nonce << 4)),
        );
        let Relay { stage, version, read } = state.relay;
        let State { nonces, births, epochs, renewals, losses, plain, .. } = *state;
        let faults = renewals | losses << 2 | plain << 4;
        fold.word(u64::from_le_bytes([stage as u8, version, read, nonces, births, epochs, faults, 0]));
        let reader = &state.reader;
        fold.word(u64::from_le_bytes([
            reader.epoch | reader.floor << 4,
            reader.applied,
            reader.nonce,
            reader.last,
            reader.birth,
            reader.certified,
            0,
            0,
        ]));
        fold.word(reader.polled.iter().fold(0, |word, one| word << 4 | u64::from(*one)));
        fold.word(reader.load.word() << 32 | reader.document.word());
        let mut polls = reader.polls.map(|one| one.word());
        polls.sort_unstable();
        polls.iter().for_each(|word| fold.word(*word));
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if state.reader.document.epoch != 0 && state.reader.document.knows == self.changes {
            return; // the document knows all that it can miss
        }
        let room = usize::from(state.database.length) < ENTRIES;
        let mut after = *state;
        if state.committed < self.changes {
            after.committed += 1;
            next.push(self.judged(Step::Commit, after));
        }
        if state.plain < self.plain && room {
            let mut after = *state;
            after.plain += 1;
            after.append(0);
            next.push(self.judged(Step::Plain, after));
        }
        self.relay(state, next);
        if state.losses < self.losses && state.database.length > 0 {
            next.push(self.judged(Step::Lose, lose(state)));
        }
        for poll in 0..self.polls {
            self.poll(state, poll, next);
        }
        self.catch_up(state, next);
        self.load(state, next);
    }

    fn show(&self, state: &State) -> String {
        let Database { epoch, length, stored, newest, .. } = state.database;
        let reader = &state.reader;
        format!(
            "{} committed, {stored} consumed, log {epoch}:{length}, round {} completed {} born {} | reader {}:{} \
             certified {} document {}:{} knows {}",
            state.committed,
            newest.round,
            newest.completed,
            newest.birth,
            reader.epoch,
            reader.applied,
            reader.certified,
            reader.document.epoch,
            reader.document.position,
            reader.document.knows
        )
    }
}

impl State {
    fn append(&mut self, changes: u8) {
        let database = &mut self.database;
        self.nonces += 1;
        database.log[usize::from(database.length)] = Entry { changes, nonce: self.nonces };
        database.length += 1;
    }

    fn store(&mut self, consumed: u8) {
        self.nonces += 1;
        (self.database.stored, self.database.version) = (consumed, self.nonces);
    }

    fn begin_epoch(&mut self) {
        self.epochs += 1;
        (self.database.epoch, self.database.floor) = (self.epochs, self.database.length);
    }
}

impl Poll {
    fn word(&self) -> u64 {
        let stage = u8::from(self.is_sent) | u8::from(self.is_executed) << 1 | u8::from(self.has_arrived) << 2;
        let Row { round, completed, birth } = self.row;
        u64::from_le_bytes([stage, self.must, round, completed, birth, self.epoch, self.head, self.nonce])
    }
}

impl Copied {
    fn word(self) -> u64 {
        u64::from(u32::from_le_bytes([self.epoch, self.position, self.knows, 0]))
    }
}

/// The last entry and what was consumed with it are lost, and the unlogged table with them.
fn lose(state: &State) -> State {
    let mut after = *state;
    after.losses += 1;
    let database = &mut after.database;
    database.length -= 1;
    let lost = std::mem::take(&mut database.log[usize::from(database.length)]);
    if lost.changes > 0 {
        let before = database.log.iter().map(|entry| entry.changes).max();
        database.stored = before.unwrap_or_default();
    }
    database.newest = Row::default();
    after.nonces += 1;
    after.database.version = after.nonces;
    after.relay = Relay::default();
    after
}

impl Epochs {
    fn is(&self, mutant: EpochMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn relay(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let Relay { stage, version, read } = state.relay;
        let mut after = *state;
        let database = &state.database;
        let room = usize::from(database.length) < ENTRIES;
        match stage {
            Stage::Holding if database.newest.round == 0 => {
                after.births += 1;
                after.database.newest = Row { round: 1, completed: 0, birth: after.births };
                next.push(self.judged(Step::BeginTable, after));
            }
            Stage::Holding => {
                after.relay = Relay { stage: Stage::Read, version: database.version, read: state.committed };
                next.push(self.judged(Step::ReadOutbox, after));
            }
            Stage::Read if version != database.version => {
                after.relay = Relay::default();
                next.push(self.judged(Step::Append, after));
            }
            Stage::Read => {
                if state.renewals < self.renewals {
                    let mut renewed = *state;
                    renewed.renewals += 1;
                    renewed.begin_epoch();
                    let late = self.is(EpochMutant::EpochBeforeSnapshot);
                    renewed.relay.stage = if late { Stage::Begun } else { Stage::Durable };
                    if !late {
                        renewed.store(read);
                    }
                    next.push(self.judged(Step::Renew, renewed));
                }
                if read == database.stored || room {
                    if read > database.stored {
                        after.append(read);
                        after.store(read);
                    }
                    after.relay.stage = Stage::Durable;
                    next.push(self.judged(Step::Append, after));
                }
            }
            Stage::Begun => {
                after.store(state.committed);
                after.relay.stage = Stage::Durable;
                next.push(self.judged(Step::Snapshot, after));
            }
            Stage::Durable => {
                after.relay = Relay::default();
                let newest = &mut after.database.newest;
                if newest.round < self.rounds {
                    (newest.round, newest.completed) = (newest.round + 1, newest.round);
                    next.push(self.judged(Step::Complete, after));
                }
            }
        }
    }
}
