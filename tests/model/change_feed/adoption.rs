//! Adopting an epoch that another instance has begun, while the old primary went on acknowledging.
//!
//! A standby is promoted at a time, and the old primary lives on. Instance A stays on the old one and acknowledges
//! invalidations there; B moves and begins a new epoch; A follows later. What A acknowledged is not in the new log, but
//! documents of the new epoch may have been read before it. So A appends it there before it adopts the epoch.

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

const LOG: usize = 4;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdoptionMutant {
    /// Nothing is appended.
    AppendsNothing,
    /// The epoch is adopted first, and what is lacking is appended afterwards.
    AdoptsFirst,
    /// Only the last of the entries is appended.
    AppendsOnlyTheLast,
}

#[derive(Clone, Copy)]
pub(crate) struct Adoption {
    pub(crate) mutant: Option<AdoptionMutant>,
    pub(crate) invalidations: u8,
}

/// A set of invalidations: one bit each.
type Set = u8;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// On the old primary.
    #[default]
    Old,
    /// (A broken variant only) has adopted the new epoch, and still has to append.
    Adopted,
    /// Has appended what the new log lacks.
    Appended,
    /// Reads and serves the new epoch.
    New,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    /// What the old primary has, and how many of these the standby had when it was promoted.
    old: u8,
    promoted: Option<u8>,
    is_begun: bool,
    /// The entries of the new epoch, each a number of an invalidation.
    new: [u8; LOG],
    length: u8,
    stage: Stage,
    /// How far A has applied the new log.
    applied: u8,
    acknowledged: Set,
    called: Set,
    /// A document of the new epoch: its read position plus one (0: none), and what it knows.
    document: u8,
    knows: Set,
    /// B's view of the new log.
    applied_elsewhere: u8,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Invalidate,
    Promote,
    Begin,
    Load,
    Append,
    Adopt,
    Apply,
    ApplyElsewhere,
    Serve,
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match *self {
            Self::Invalidate => "A acknowledges an invalidation on the old primary",
            Self::Promote => "the standby is promoted",
            Self::Begin => "B begins a new epoch",
            Self::Load => "B loads a document in the new epoch",
            Self::Append => "A appends what the new log lacks",
            Self::Adopt => "A adopts the new epoch",
            Self::Apply => "A applies an entry",
            Self::ApplyElsewhere => "B applies an entry",
            Self::Serve => "A serves the document",
        })
    }
}

impl Model for Adoption {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State::default()
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        let promoted = state.promoted.map_or(0xf, |at| at);
        let did = state.stage as u8 | u8::from(state.is_begun) << 4;
        fold.word(u64::from_le_bytes([
            state.old | promoted << 4,
            did,
            state.length | state.applied << 4,
            state.acknowledged,
            state.called,
            state.document,
            state.knows,
            state.applied_elsewhere,
        ]));
        fold.word(state.new.iter().fold(0, |word, one| word << 4 | u64::from(*one)));
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let mut push = |what, change: &dyn Fn(&mut State)| {
            let mut after = *state;
            change(&mut after);
            next.push(Next { step: what, state: after, broken: None });
        };
        if state.stage == Stage::Old && state.old < self.invalidations {
            push(Step::Invalidate, &|after| {
                after.called |= 1 << after.old;
                after.acknowledged |= 1 << after.old;
                after.old += 1;
            });
        }
        // The standby may lag.
        if state.promoted.is_none() {
            push(Step::Promote, &|after| after.promoted = Some(after.old.saturating_sub(1)));
        } else if !state.is_begun {
            push(Step::Begin, &|after| after.is_begun = true);
        } else {
            push(Step::Load, &|after| {
                after.document = after.applied_elsewhere + 1;
                after.knows = after.called;
            });
            if state.applied_elsewhere < state.length {
                push(Step::ApplyElsewhere, &|after| after.applied_elsewhere += 1);
            }
            self.follow(state, next);
        }
        self.serve(state, next);
    }

    fn show(&self, state: &State) -> String {
        let new = &state.new[..usize::from(state.length)];
        format!("old {} new {new:?} document {} knows {:b}", state.old, state.document, state.knows)
    }
}

impl Adoption {
    fn is(&self, mutant: AdoptionMutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// A moves to the new primary.
    fn follow(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let mut after = *state;
        let what = match state.stage {
            Stage::Old if self.is(AdoptionMutant::AppendsNothing) => {
                after.stage = Stage::New;
                Step::Adopt
            }
            Stage::Old if self.is(AdoptionMutant::AdoptsFirst) => {
                after.stage = Stage::Adopted;
                Step::Adopt
            }
            Stage::Old | Stage::Adopted => {
                let mut lacking = state.promoted.unwrap_or_default()..state.old;
                if self.is(AdoptionMutant::AppendsOnlyTheLast) {
                    lacking.start = lacking.start.max(state.old.saturating_sub(1));
                }
                for one in lacking {
                    after.new[usize::from(after.length)] = one;
                    after.length += 1;
                }
                after.stage = if state.stage == Stage::Old { Stage::Appended } else { Stage::New };
                Step::Append
            }
            Stage::Appended => {
                after.stage = Stage::New;
                Step::Adopt
            }
            Stage::New if state.applied < state.length => {
                after.applied += 1;
                Step::Apply
            }
            Stage::New => return,
        };
        next.push(Next { step: what, state: after, broken: None });
    }

    /// A judges a document of the new epoch once it has read the log to its end. The document is of the user whom
    /// invalidation #0 concerns.
    fn serve(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let has_read = matches!(state.stage, Stage::New | Stage::Adopted) && state.applied == state.length;
        let applied = &state.new[..usize::from(state.applied)];
        let last = applied.iter().rposition(|one| *one == 0).map_or(0, |index| index as u8 + 1);
        let is_valid = state.document > last;
        let is_missed = state.acknowledged & !state.knows & 1 != 0;
        if has_read && is_valid && is_missed {
            let broken = Some("an invalidation that A acknowledged is missing".to_owned());
            next.push(Next { step: Step::Serve, state: *state, broken });
        }
    }
}
