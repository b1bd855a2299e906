//! A change of `updated_at` alone: whether it matters depends on rows that are not visible yet.
//!
//! A document shows the newest of a user's rows. #0 makes row A the newest; #1 inserts row B, #2 deletes it. Each commits
//! at any time after its statement. The trigger notes a change of `updated_at` as such, and the relay asks whether the row
//! has a sibling, in the very snapshot that it reads the notes in. A document is read at any time, and is valid until an entry.

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SiblingMutant {
    /// The trigger looks for a sibling, in the writer's snapshot.
    TriggerLooks,
    /// The relay looks in a snapshot that does not show the note, as on a replica.
    EarlierSnapshot,
    /// The relay looks in a snapshot taken after the notes were read: the sibling may be gone, and its note not read.
    LaterSnapshot,
    /// A change of `updated_at` never matters.
    NeverMatters,
}

#[derive(Clone, Copy)]
pub(crate) struct Siblings {
    pub(crate) mutant: Option<SiblingMutant>,
}

/// A set of changes: one bit each.
type Set = u8;
const CHANGES: u8 = 3;
const TOUCH: Set = 1;
const INSERT: Set = 2;
const DELETE: Set = 4;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    written: Set,
    noted: Set,
    committed: Set,
    consumed: Set,
    /// The notes that the relay has read, what its snapshot shows, and what was committed when its round began.
    rows: Set,
    shown: Set,
    is_reading: bool,
    must: Set,
    /// What an earlier snapshot shows.
    earlier: Set,
    /// The changes that the valid document knows.
    document: Option<Set>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Write(u8),
    Commit(u8),
    Load,
    Replicate,
    Read,
    Judge,
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Write(change) => write!(formatter, "#{change} is written"),
            Self::Commit(change) => write!(formatter, "#{change} commits"),
            Self::Load => formatter.write_str("a document is read"),
            Self::Replicate => formatter.write_str("a replica follows"),
            Self::Read => formatter.write_str("the relay reads the notes"),
            Self::Judge => formatter.write_str("the relay looks for siblings and commits to the log"),
        }
    }
}

impl Model for Siblings {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State::default()
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        let document = state.document.map_or(0xff, |known| known);
        let rows = state.rows | state.shown << 3 | u8::from(state.is_reading) << 7;
        let State { written, noted, committed, consumed, must, earlier, .. } = *state;
        fold.word(u64::from_le_bytes([written, noted, committed, consumed, rows, must, earlier, document]));
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let mut push = |what, after| next.push(Next { step: what, state: after, broken: None });
        for change in 0..CHANGES {
            let bit = 1 << change;
            // The row has to be there before it is deleted.
            let is_possible = bit != DELETE || state.committed & INSERT != 0;
            let mut after = *state;
            if state.written & bit == 0 && is_possible {
                after.written |= bit;
                let is_noted = bit != TOUCH || !self.is(SiblingMutant::TriggerLooks) || has_sibling(state.committed);
                after.noted |= if is_noted { bit } else { 0 };
                push(Step::Write(change), after);
            } else if state.written & !state.committed & bit != 0 {
                after.committed |= bit;
                push(Step::Commit(change), after);
            }
        }
        push(Step::Load, State { document: Some(state.committed), ..*state });
        if self.is(SiblingMutant::EarlierSnapshot) {
            push(Step::Replicate, State { earlier: state.committed, ..*state });
        }
        if state.is_reading {
            self.judge(state, next);
        } else {
            let rows = state.noted & state.committed & !state.consumed;
            let shown = if self.is(SiblingMutant::EarlierSnapshot) { state.earlier } else { state.committed };
            push(Step::Read, State { rows, shown, is_reading: true, must: state.committed, ..*state });
        }
    }

    fn show(&self, state: &State) -> String {
        let State { written, committed, consumed, document, .. } = *state;
        format!("written {written:03b} committed {committed:03b} consumed {consumed:03b} document {document:?}")
    }
}

/// Whether row B is there.
fn has_sibling(visible: Set) -> bool {
    visible & INSERT != 0 && visible & DELETE == 0
}

/// What the document shows: B is newer than A was, and older than A has become.
fn newest(visible: Set) -> char {
    if has_sibling(visible) && visible & TOUCH == 0 { 'B' } else { 'A' }
}

impl Siblings {
    fn is(&self, mutant: SiblingMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn judge(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let shown = if self.is(SiblingMutant::LaterSnapshot) { state.committed } else { state.shown };
        let matters = has_sibling(shown) && !self.is(SiblingMutant::NeverMatters);
        let entries = if matters { state.rows } else { state.rows & !TOUCH };
        let mut after = *state;
        (after.rows, after.shown, after.must) = (0, 0, 0);
        after.is_reading = false;
        after.consumed |= state.rows;
        if entries != 0 {
            after.document = None;
        }
        let broken = after.document.filter(|known| newest(*known) != newest(known | state.must)).map(|known| {
            format!("a round counts, and the document shows {} for {}", newest(known), newest(known | state.must))
        });
        next.push(Next { step: Step::Judge, state: after, broken });
    }
}
