//! The round: from which completed round a reader concludes that it has applied every change up to a moment.
//!
//! Two relays, one reader with several polls in flight, and the table of rounds. An insert may wait in a pooler while its
//! relay dies, another takes over, and PostgreSQL crashes and empties the unlogged table. A new table begins at any
//! number, because its clock may have stepped back. Takeover has no clock: a relay may try it at any time.
//!
//! Changes are committed and noted one after the other, so a number says how many a poll, an entry or a reader knows.
//! `consumption.rs` has the transactions that commit in another order.

mod reader;
mod relay;
mod request;

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

const RELAYS: usize = 2;
const POLLS: usize = 2;
/// Round numbers, from 1.
const ROUNDS: usize = 6;
const INSERTS: usize = 2;
const ENTRIES: usize = 3;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoundMutant {
    /// A takeover counts the round before it as completed.
    TakeoverCompletes,
    /// An insert does not ask for the row before it.
    NoCondition,
    /// An insert replaces the row that has its key.
    NoCompareAndSet,
    /// A round ends before its invalidations are durable.
    EndsBeforeDurable,
    /// A poll that returned the completed round itself is counted.
    CountsTheCompletedRound,
    /// The poll that brought `completed` is counted.
    CountsThePollItself,
    /// The log's head is read before the newest round.
    LogBeforeRound,
    /// A reader certifies before it has applied the rows up to the head.
    CertifiesBeforeTheRows,
    /// A poll counts from its answer.
    CountsFromTheAnswer,
    /// Every table has the same birth.
    SameBirth,
    /// A reader keeps its polls when it sees another birth.
    KeepsPollsOfAnotherBirth,
    /// A relay has one holder number for ever.
    SameHolder,
    /// LINEARIZABLE reads the log before the outbox.
    LogBeforeOutbox,
    /// LINEARIZABLE does not look into the outbox.
    NoLookIntoTheOutbox,
    /// LINEARIZABLE waits for any round that ends, not for one that began after the request.
    AnyRoundWillDo,
}

#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) mutant: Option<RoundMutant>,
    pub(crate) relays: u8,
    pub(crate) changes: u8,
    pub(crate) polls: u8,
    /// Rounds have numbers up to this one.
    pub(crate) rounds: u8,
    /// Inserts that take over or begin a table.
    pub(crate) takeovers: u8,
    /// Relays that give up an insert, die or stop.
    pub(crate) faults: u8,
    /// Crashes of PostgreSQL that empty the table.
    pub(crate) losses: u8,
    /// A new table begins at one of these numbers.
    pub(crate) begins: &'static [u8],
    /// The newest round and the log's head are read by two statements, as from two files of SQLite.
    pub(crate) two_statements: bool,
    /// Between an insert's condition and its key, another insert may be executed.
    pub(crate) races: bool,
    pub(crate) linearizable: bool,
}

/// A row of the table. Round 0: no row.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Row {
    round: u8,
    /// 0: none, its relay has stopped.
    holder: u8,
    completed: u8,
    birth: u8,
}

const FIRST: Row = Row { round: 1, holder: 1, completed: 0, birth: 1 };

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Free,
    /// On its way, perhaps in a pooler.
    Sent,
    /// PostgreSQL has taken its snapshot, and found the condition true.
    Allowed,
}

#[derive(Clone, Copy, Default)]
struct Insert {
    way: Way,
    row: Row,
    /// The row that has to be the newest. Round 0: the table has to be empty.
    over: Row,
    /// The relay that waits for it.
    sender: Option<u8>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Holds no round.
    #[default]
    Out,
    /// Waits for an insert.
    Inserting,
    /// Its row is there.
    Holding,
    /// Has read the outbox.
    Read,
    /// (A broken variant only) has ended the round, its invalidations are not durable.
    Ended,
    /// The invalidations and what was consumed are committed.
    Durable,
}

#[derive(Clone, Copy, Default)]
struct Relay {
    stage: Stage,
    row: Row,
    /// Its number; fresh in each takeover.
    holder: u8,
    /// What the outbox was read against, and what is consumed then.
    before: u8,
    read: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum PollStage {
    #[default]
    Idle,
    Sent,
    /// One of two statements has been executed.
    Half,
    Executed,
    /// The answer is there, the rows up to its head are not.
    Arrived,
}

#[derive(Clone, Copy, Default)]
struct Poll {
    stage: PollStage,
    /// Changes committed when it was sent.
    must: u8,
    /// It was sent after the request arrived.
    after_request: bool,
    row: Row,
    head: u8,
}

#[derive(Clone, Copy, Default)]
struct Reader {
    birth: u8,
    /// Per round, the latest poll that returned it: changes that were committed when it was sent.
    polled: [u8; ROUNDS + 1],
    /// Rounds returned by polls sent after the request arrived.
    after_request: u8,
    applied: u8,
    polls: [Poll; POLLS],
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Request {
    #[default]
    Idle,
    Arrived,
    /// (A broken variant only) has read the log's head, and then looks into the outbox.
    HeadKnown,
    /// Knows what is consumed, and looks into the outbox.
    Looking,
    /// A note is not consumed.
    WaitsForARound,
    /// Every note is consumed; reads the head.
    Consumed,
    WaitsForRows,
    Answered,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    committed: u8,
    /// What is consumed, in the log's database.
    stored: u8,
    /// Each entry: the changes noted up to it.
    log: [u8; ENTRIES],
    length: u8,
    newest: Row,
    /// Keys in the table, one bit each.
    keys: u8,
    /// Holder numbers and births given so far, which are the takeovers too.
    numbers: u8,
    faults: u8,
    losses: u8,
    inserts: [Insert; INSERTS],
    relays: [Relay; RELAYS],
    reader: Reader,
    request: Request,
    request_must: u8,
    /// What the request knows: what is consumed, then the log's head.
    request_knows: u8,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Commit,
    TakeOver(u8, u8),
    Evaluate(u8),
    Put(u8),
    GiveUp(u8),
    Recover(u8),
    Stop(u8),
    ReadOutbox(u8),
    Durable(u8),
    EndRound(u8),
    Lose,
    SendPoll(u8),
    Execute(u8),
    ExecuteMore(u8),
    Arrive(u8),
    Apply,
    Certify(u8),
    Request(&'static str),
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Commit => formatter.write_str("a writer commits a change with its note"),
            Self::TakeOver(at, round) => write!(formatter, "relay {at} sends an insert of round {round} to take over"),
            Self::Evaluate(insert) => write!(formatter, "insert {insert} reaches PostgreSQL"),
            Self::Put(insert) => write!(formatter, "insert {insert} is executed"),
            Self::GiveUp(at) => write!(formatter, "relay {at} gives up, or dies and starts again"),
            Self::Recover(at) => write!(formatter, "relay {at} finds its own row"),
            Self::Stop(at) => write!(formatter, "relay {at} stops and says so"),
            Self::ReadOutbox(at) => write!(formatter, "relay {at} reads the outbox"),
            Self::Durable(at) => write!(formatter, "relay {at} commits invalidations and what is consumed"),
            Self::EndRound(at) => write!(formatter, "relay {at} sends the insert that ends its round"),
            Self::Lose => formatter.write_str("PostgreSQL crashes and empties the table"),
            Self::SendPoll(poll) => write!(formatter, "poll {poll} is sent"),
            Self::Execute(poll) => write!(formatter, "poll {poll} is executed"),
            Self::ExecuteMore(poll) => write!(formatter, "poll {poll}'s second statement is executed"),
            Self::Arrive(poll) => write!(formatter, "poll {poll}'s answer arrives"),
            Self::Apply => formatter.write_str("the reader applies a row of the log"),
            Self::Certify(poll) => write!(formatter, "the reader certifies from poll {poll}"),
            Self::Request(what) => write!(formatter, "the request {what}"),
        }
    }
}

impl Model for Rounds {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        // Relay 0 holds round 1, and nothing has happened.
        let mut state = State { newest: FIRST, keys: 1 << FIRST.round, numbers: 1, ..State::default() };
        state.relays[0] = Relay { stage: Stage::Holding, row: FIRST, holder: FIRST.holder, ..Relay::default() };
        state.reader.birth = FIRST.birth;
        state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let swapped = [1, 0];
        let fingerprint = state.fold([0, 1]);
        // Relays do not differ.
        if self.relays == 2 { fingerprint.min(state.fold(swapped)) } else { fingerprint }
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if state.known() == self.changes {
            return; // the reader has applied everything that can be missed
        }
        if state.committed < self.changes {
            let mut after = *state;
            after.committed += 1;
            next.push(step(Step::Commit, after));
        }
        for at in 0..self.relays {
            self.relay(state, at, next);
        }
        for insert in 0..INSERTS as u8 {
            self.insert(state, insert, next);
        }
        if state.losses < self.losses && state.newest.round > 0 {
            next.push(step(Step::Lose, lose(state)));
        }
        for poll in 0..self.polls {
            self.poll(state, poll, next);
        }
        self.apply(state, next);
        if self.linearizable {
            self.request(state, next);
        }
    }

    fn show(&self, state: &State) -> String {
        let Row { round, holder, completed, birth } = state.newest;
        let reader = &state.reader;
        format!(
            "round {round} of {holder} completed {completed} born {birth} | {} committed, {} consumed, log {:?} | \
             reader of {} applied {} polled {:?}",
            state.committed,
            state.stored,
            &state.log[..usize::from(state.length)],
            reader.birth,
            reader.applied,
            &reader.polled[1..]
        )
    }
}

fn step(step: Step, state: State) -> Next<Rounds> {
    Next { step, state, broken: None }
}

impl Rounds {
    fn is(&self, mutant: RoundMutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl State {
    /// The fingerprint with the relays in the given order.
    fn fold(&self, order: [usize; RELAYS]) -> u64 {
        let mut fold = Fold(0);
        fold.word(u64::from_le_bytes([
            self.committed | self.stored << 4,
            self.length,
            self.log[0] | self.log[1] << 4,
            self.log[2],
            self.keys,
            self.numbers | self.faults << 4,
            self.losses,
            0,
        ]));
        fold.word(self.newest.word());
        for insert in &self.inserts {
            let sender = insert.sender.map_or(7, |at| order[usize::from(at)] as u8);
            fold.word(insert.row.word() | u64::from(insert.way as u8 | sender << 4) << 32);
            fold.word(insert.over.word());
        }
        for index in order {
            let one = &self.relays[index];
            let did = u64::from(one.stage as u8 | one.holder << 4);
            fold.word(one.row.word() | did << 32 | u64::from(one.before | one.read << 4) << 40);
        }
        let reader = &self.reader;
        fold.word(reader.polled.iter().fold(u64::from(reader.applied), |word, one| word << 4 | u64::from(*one)));
        fold.word(u64::from_le_bytes([
            reader.birth,
            reader.after_request,
            self.request as u8,
            self.request_must,
            self.request_knows,
            0,
            0,
            0,
        ]));
        // The order of the polls does not matter.
        let mut polls = reader.polls.map(|one| one.word());
        polls.sort_unstable();
        polls.iter().for_each(|word| fold.word(*word));
        fold.done()
    }

    fn lowest_free_insert(&self) -> Option<usize> {
        self.inserts.iter().position(|insert| insert.way == Way::Free)
    }
}

impl Row {
    /// What the condition of an insert compares.
    fn named(self) -> Self {
        Self { completed: 0, birth: 0, ..self }
    }

    fn word(self) -> u64 {
        u64::from(u32::from_le_bytes([self.round, self.holder, self.completed, self.birth]))
    }
}

impl Poll {
    fn word(&self) -> u64 {
        let sent = u64::from(self.must | u8::from(self.after_request) << 7);
        self.row.word() | u64::from(self.stage as u8) << 32 | sent << 40 | u64::from(self.head) << 48
    }
}

/// PostgreSQL crashes: the table is empty, and what it was executing has failed.
fn lose(state: &State) -> State {
    let mut after = *state;
    after.losses += 1;
    after.newest = Row::default();
    after.keys = 0;
    for insert in &mut after.inserts {
        if insert.way == Way::Allowed {
            if let Some(at) = insert.sender {
                after.relays[usize::from(at)].stage = Stage::Out;
            }
            *insert = Insert::default();
        }
    }
    after
}
