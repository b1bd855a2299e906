//! Triggers that are removed, spoiled and installed again while rounds go on: what was written meanwhile has no note.
//!
//! A writer's statement runs the trigger, and commits at any later time. CREATE and DROP TRIGGER wait for the writers of
//! the table, CREATE OR REPLACE FUNCTION does not. Each round reads a fingerprint with the notes, and a changed one
//! invalidates everything of the table in the same commit. A reader learns for which sections a round counts from the
//! round's row, or from the log's database in the statement that reads the round.

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

const CHANGES: usize = 2;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TriggerMutant {
    /// A trigger that is there again counts as if it had been there always.
    OnlyLooksWhetherItIsThere,
    /// A round counts for the sections of a table without its trigger.
    CountsUnwatched,
    /// The fingerprint is older than the round.
    ReadBeforeTheRound,
    /// What a changed fingerprint invalidates is committed by the next round.
    InvalidatesAfterTheRound,
    /// The fingerprint is compared with one in the holder's memory.
    FingerprintInMemory,
    /// A takeover forgets for which sections the completed round does not count.
    TakeoverForgetsUnwatched,
    /// A function counts as soon as it is replaced, while writers still run with the one before.
    FunctionWithoutLock,
}

#[derive(Clone, Copy)]
pub(crate) struct Triggers {
    pub(crate) mutant: Option<TriggerMutant>,
    /// DDL statements.
    pub(crate) ddl: u8,
    pub(crate) deaths: u8,
    /// For which sections a round counts is in its row. Otherwise beside what is consumed.
    pub(crate) in_row: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Idle,
    /// Its statement has run.
    Written,
    Committed,
}

#[derive(Clone, Copy, Default)]
struct Change {
    progress: Progress,
    noted: bool,
}

/// What a round reads of the catalogue.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Fingerprint {
    /// 0: there is none. Later ones are higher.
    trigger: u8,
    function: u8,
    is_ours: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Begun,
    Read,
    Durable,
}

type Set = u8;

#[derive(Clone, Copy, Default)]
struct Relay {
    stage: Stage,
    must: Set,
    rows: Set,
    fingerprint: Fingerprint,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    changes: [Change; CHANGES],
    now: Fingerprint,
    ddl: u8,
    deaths: u8,
    /// In the log's database.
    consumed: Set,
    stored: Fingerprint,
    /// Changes that bind every document.
    known: Set,
    /// (A broken variant only) the next commit invalidates everything.
    owes: bool,
    /// What was committed when the completed round began, and whether it counts.
    completed: Set,
    counts: bool,
    relay: Relay,
    /// (A broken variant only) the fingerprint in the holder's memory.
    memory: Fingerprint,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Write(u8),
    Commit(u8),
    Drop,
    Install,
    Spoil,
    Repair,
    Begin,
    Read,
    Store,
    Complete,
    Die,
    Poll,
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match *self {
            Self::Write(0) => "#0 writes",
            Self::Write(_) => "#1 writes",
            Self::Commit(0) => "#0 commits",
            Self::Commit(_) => "#1 commits",
            Self::Drop => "the trigger is dropped",
            Self::Install => "the trigger is installed",
            Self::Spoil => "the function is replaced by another one",
            Self::Repair => "the function is replaced by ours",
            Self::Begin => "a round begins",
            Self::Read => "the relay reads the notes and the fingerprint",
            Self::Store => "the relay commits to the log",
            Self::Complete => "the round is completed",
            Self::Die => "the relay dies, and another one takes over",
            Self::Poll => "a reader polls and certifies",
        })
    }
}

impl Model for Triggers {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let now = Fingerprint { trigger: 2, function: 1, is_ours: true };
        State { now, stored: now, memory: now, counts: true, ddl: 2, ..State::default() }
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        let all = state.changes.iter();
        let changes = all.fold(0, |word, one| word << 4 | one.progress as u8 | u8::from(one.noted) << 3);
        let flags = u8::from(state.owes) | u8::from(state.counts) << 1 | state.deaths << 4;
        let Relay { stage, must, rows, fingerprint } = state.relay;
        let work = stage as u8 | must << 4;
        fold.word(u64::from_le_bytes([
            changes,
            state.ddl,
            flags,
            state.consumed,
            state.known,
            state.completed,
            work,
            rows,
        ]));
        fold.word(state.now.word() | state.stored.word() << 16 | fingerprint.word() << 32 | state.memory.word() << 48);
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        writers(state, next);
        self.catalogue(state, next);
        self.relay(state, next);
        let watched = if self.in_row { state.counts } else { state.stored.is_watched(self) };
        let missed = state.completed & !state.known;
        if watched || self.is(TriggerMutant::CountsUnwatched) {
            let broken = (missed != 0).then(|| format!("a round counts without changes {missed:b}"));
            if broken.is_some() {
                next.push(Next { step: Step::Poll, state: *state, broken });
            }
        }
    }

    fn show(&self, state: &State) -> String {
        let Fingerprint { trigger, function, is_ours } = state.now;
        format!(
            "trigger {trigger} function {function} ours {is_ours} | stored {} {} knows {:b} completed {:b} counts {}",
            state.stored.trigger, state.stored.function, state.known, state.completed, state.counts
        )
    }
}

impl Fingerprint {
    /// The trigger was created after its function, and has waited for the writers before it.
    fn is_watched(self, model: &Triggers) -> bool {
        let is_locked = self.trigger > self.function || model.is(TriggerMutant::FunctionWithoutLock);
        self.trigger > 0 && self.is_ours && is_locked
    }

    fn word(self) -> u64 {
        u64::from(self.trigger | self.function << 4) | u64::from(self.is_ours) << 8
    }
}

fn step(step: Step, state: State) -> Next<Triggers> {
    Next { step, state, broken: None }
}

fn writers(state: &State, next: &mut Vec<Next<Triggers>>) {
    for (index, one) in state.changes.iter().enumerate() {
        let mut after = *state;
        let own = &mut after.changes[index];
        match one.progress {
            Progress::Idle => {
                own.progress = Progress::Written;
                own.noted = state.now.trigger > 0 && state.now.is_ours;
                next.push(step(Step::Write(index as u8), after));
            }
            Progress::Written => {
                own.progress = Progress::Committed;
                next.push(step(Step::Commit(index as u8), after));
            }
            Progress::Committed => {}
        }
    }
}

impl State {
    fn committed(&self) -> Set {
        let all = self.changes.iter().enumerate();
        all.filter(|(_, one)| one.progress == Progress::Committed).fold(0, |set, (index, _)| set | 1 << index)
    }

    fn new_notes(&self) -> Set {
        let noted = self.changes.iter().enumerate().filter(|(_, one)| one.noted);
        noted.fold(0, |set, (index, _)| set | 1 << index) & self.committed() & !self.consumed
    }
}

impl Triggers {
    fn is(&self, mutant: TriggerMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn catalogue(&self, state: &State, next: &mut Vec<Next<Self>>) {
        if state.ddl == self.ddl + 2 {
            return;
        }
        let mut after = *state;
        after.ddl += 1;
        let change = |now: Fingerprint, what| {
            let mut changed = after;
            changed.now = now;
            step(what, changed)
        };
        let is_locked = state.changes.iter().any(|one| one.progress == Progress::Written);
        if !is_locked && state.now.trigger > 0 {
            next.push(change(Fingerprint { trigger: 0, ..state.now }, Step::Drop));
        }
        if !is_locked {
            next.push(change(Fingerprint { trigger: after.ddl, ..state.now }, Step::Install));
        }
        let what = if state.now.is_ours { Step::Spoil } else { Step::Repair };
        next.push(change(Fingerprint { function: after.ddl, is_ours: !state.now.is_ours, ..state.now }, what));
    }

    fn relay(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let mut after = *state;
        let own = &mut after.relay;
        let before = self.is(TriggerMutant::ReadBeforeTheRound);
        let what = match own.stage {
            Stage::Idle => {
                own.stage = Stage::Begun;
                own.must = state.committed();
                if before {
                    // Some time ago, that is when the round before was completed.
                    own.fingerprint = state.memory;
                    after.memory = state.now;
                }
                Step::Begin
            }
            Stage::Begun => {
                own.stage = Stage::Read;
                own.rows = state.new_notes();
                own.fingerprint = if before { own.fingerprint } else { state.now };
                Step::Read
            }
            Stage::Read => {
                self.store(&mut after);
                Step::Store
            }
            Stage::Durable => {
                after.completed = own.must;
                after.counts = own.fingerprint.is_watched(self);
                after.relay = Relay::default();
                Step::Complete
            }
        };
        next.push(step(what, after));
        if state.relay.stage != Stage::Idle && state.deaths < self.deaths {
            let mut after = *state;
            after.deaths += 1;
            after.relay = Relay::default();
            if self.is(TriggerMutant::FingerprintInMemory) {
                after.memory = state.now;
            }
            after.counts |= self.is(TriggerMutant::TakeoverForgetsUnwatched);
            next.push(step(Step::Die, after));
        }
    }

    /// One commit of the log's database.
    fn store(&self, state: &mut State) {
        let committed = state.committed();
        let Relay { rows, fingerprint, .. } = state.relay;
        state.relay.stage = Stage::Durable;
        state.relay.rows = 0;
        state.known |= rows;
        state.consumed |= rows;
        let in_memory = self.is(TriggerMutant::FingerprintInMemory);
        let compared = if in_memory { state.memory } else { state.stored };
        let mut is_changed = compared != fingerprint;
        if self.is(TriggerMutant::OnlyLooksWhetherItIsThere) {
            is_changed = compared.is_watched(self) != fingerprint.is_watched(self);
        }
        if self.is(TriggerMutant::InvalidatesAfterTheRound) {
            is_changed = std::mem::replace(&mut state.owes, is_changed);
        }
        if is_changed {
            // Whatever is read from now on knows what is committed by now.
            state.known |= committed;
        }
        state.stored = fingerprint;
        if in_memory {
            state.memory = fingerprint;
        }
    }
}
