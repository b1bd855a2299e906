//! Two clusters of one name: the log's database was cloned, or the sources were restored.
//!
//! The consumer row of a cluster has a nonce, which changes with each report. The next one is stored in the log's database
//! before it is reported, so that a crash in between is not taken for a clone. A clone has the same name and nonces, but
//! from its first report on, the two databases know different ones. So the second of them finds a nonce that is not its
//! own, and begins an epoch and a name of its own. A row that was restored has an old nonce, too.

use std::fmt::{self, Display, Formatter};

use crate::explore::{Fold, Model, Next};

const HOLDERS: usize = 2;
/// Nonces given at most.
const NONCES: u8 = 6;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloneMutant {
    /// A cluster keeps its nonce.
    SameNonce,
    /// The nonce in the row is not compared.
    ComparesNothing,
    /// The next nonce is stored after it was reported.
    StoredAfterReported,
    /// Only the last nonce that was stored counts as one's own.
    OnlyTheLast,
}

#[derive(Clone, Copy)]
pub(crate) struct Clones {
    pub(crate) mutant: Option<CloneMutant>,
    pub(crate) clones: bool,
    pub(crate) restores: u8,
    pub(crate) deaths: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Its next nonce is stored.
    Prepared,
    /// Its row is written.
    Reported,
    /// Has begun an epoch and a name of its own.
    Apart,
}

/// A log's database, and the instance that reports for it.
#[derive(Clone, Copy, Default)]
struct Holder {
    /// The nonces that may stand in its row, one bit each.
    known: u8,
    next: u8,
    stage: Stage,
    /// It has reported since the clone was made.
    has_reported: bool,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    holders: [Holder; HOLDERS],
    row: u8,
    /// Who has written it last.
    writer: u8,
    nonces: u8,
    is_cloned: bool,
    /// The sources were restored to before the last nonce was confirmed.
    is_old: bool,
    restores: u8,
    deaths: u8,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Prepare(u8),
    Report(u8),
    Confirm(u8),
    Die(u8),
    Clone,
    Restore,
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Prepare(at) => write!(formatter, "cluster {at} stores its next nonce"),
            Self::Report(at) => write!(formatter, "cluster {at} reports"),
            Self::Confirm(at) => write!(formatter, "cluster {at} forgets its nonces before"),
            Self::Die(at) => write!(formatter, "the instance of cluster {at} dies"),
            Self::Clone => formatter.write_str("the log's database is cloned"),
            Self::Restore => formatter.write_str("the sources are restored"),
        }
    }
}

impl Model for Clones {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        // Nonce 1 has been reported, and confirmed.
        let mut state = State { row: 1, nonces: 1, ..State::default() };
        state.holders[0] = Holder { known: 1 << 1, next: 1, ..Holder::default() };
        state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        for one in &state.holders {
            let did = one.stage as u8 | u8::from(one.has_reported) << 4;
            fold.word(u64::from_le_bytes([one.known, one.next, did, 0, 0, 0, 0, 0]));
        }
        let flags = u8::from(state.is_cloned) | u8::from(state.is_old) << 1 | state.writer << 2;
        fold.word(u64::from_le_bytes([state.row, state.nonces, flags, state.restores, state.deaths, 0, 0, 0]));
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for at in 0..if state.is_cloned { 2 } else { 1 } {
            self.holder(state, at, next);
        }
        if self.clones && !state.is_cloned && state.holders[0].stage != Stage::Apart {
            let mut after = *state;
            after.is_cloned = true;
            after.holders[1] = Holder { stage: Stage::Idle, ..state.holders[0] };
            after.holders.iter_mut().for_each(|one| one.has_reported = false);
            next.push(step(Step::Clone, after));
        }
        if state.restores < self.restores {
            let mut after = *state;
            after.restores += 1;
            // What was reported since the last nonce was confirmed is a matter of seconds, and may be lost unnoticed.
            (after.is_old, after.row) = (state.holders[0].known & 1 << 1 == 0, 1);
            next.push(step(Step::Restore, after));
        }
    }

    fn show(&self, state: &State) -> String {
        let of = |one: &Holder| format!("knows {:b}, next {}", one.known, one.next);
        format!("row {} | {} | {}", state.row, of(&state.holders[0]), of(&state.holders[1]))
    }
}

fn step(step: Step, state: State) -> Next<Clones> {
    Next { step, state, broken: None }
}

impl Clones {
    fn is(&self, mutant: CloneMutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn holder(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let mut after = *state;
        let own = &mut after.holders[usize::from(at)];
        let stores_late = self.is(CloneMutant::StoredAfterReported);
        let what = match own.stage {
            Stage::Idle if state.nonces < NONCES => {
                if !self.is(CloneMutant::SameNonce) {
                    after.nonces += 1;
                    own.next = after.nonces;
                }
                if self.is(CloneMutant::OnlyTheLast) {
                    own.known = 0;
                }
                // Order: stored first.
                if !stores_late {
                    own.known |= 1 << own.next;
                }
                own.stage = Stage::Prepared;
                Step::Prepare(at)
            }
            Stage::Prepared => {
                self.report(state, at, next);
                Step::Report(at)
            }
            Stage::Reported => {
                own.known = 1 << own.next;
                own.stage = Stage::Idle;
                Step::Confirm(at)
            }
            Stage::Idle | Stage::Apart => return,
        };
        if what != Step::Report(at) {
            next.push(step(what, after));
        }
        if matches!(state.holders[usize::from(at)].stage, Stage::Prepared | Stage::Reported)
            && state.deaths < self.deaths
        {
            let mut after = *state;
            after.deaths += 1;
            after.holders[usize::from(at)].stage = Stage::Idle;
            next.push(step(Step::Die(at), after));
        }
    }

    fn report(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let own = state.holders[usize::from(at)];
        let is_own = own.known & 1 << state.row != 0 || self.is(CloneMutant::ComparesNothing);
        let mut after = *state;
        if !is_own {
            after.holders[usize::from(at)].stage = Stage::Apart;
            let is_needed = state.is_cloned || state.restores > 0;
            let broken = (!is_needed).then(|| "a cluster takes itself for a clone".to_owned());
            next.push(Next { step: Step::Report(at), state: after, broken });
            return;
        }
        let alternates = state.is_cloned && own.has_reported && state.writer != at;
        let broken = if alternates {
            Some("two clusters write one row in turns".to_owned())
        } else {
            state.is_old.then(|| "the sources were restored, and the cluster goes on".to_owned())
        };
        (after.row, after.writer, after.is_old) = (own.next, at, false);
        let own = &mut after.holders[usize::from(at)];
        (own.stage, own.has_reported) = (Stage::Reported, true);
        next.push(Next { step: Step::Report(at), state: after, broken });
    }
}
