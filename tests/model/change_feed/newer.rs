//! Which of two copies of a document a tier keeps: the order by read position, not by clock.
//!
//! Two instances load a document and store it; each load takes any time, and each clock may be stepped. Invalidations
//! outdate what was read before. What a tier keeps afterwards must be valid if one of the two copies is, and of two valid
//! ones the copy that was read later in the log.

use std::fmt::{self, Display, Formatter};

use crate::{
    explore::{Fold, Model, Next},
    state::instance,
};

const INSTANCES: usize = 2;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewerMutant {
    /// The later `as_of` wins.
    ByClock,
    /// The later `as_of` wins, unless the copy that is there is invalid.
    ByClockAmongValid,
    /// The higher read position wins, also over a copy of this epoch if it is of another one.
    AcrossEpochs,
}

#[derive(Clone, Copy)]
pub(crate) struct Newer {
    pub(crate) mutant: Option<NewerMutant>,
    /// Entries of the log.
    pub(crate) entries: u8,
    pub(crate) epochs: u8,
    /// Clocks show 0 up to this.
    pub(crate) clock: u8,
}

/// A copy. Epoch 0: none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Copied {
    epoch: u8,
    position: u8,
    as_of: u8,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    epoch: u8,
    position: u8,
    /// The document's last invalidation. Other entries are of other users.
    last: u8,
    tier: Copied,
    loads: [Copied; INSTANCES],
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Invalidate,
    Append,
    Begin,
    Load(u8, u8),
    Store(u8),
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Invalidate => formatter.write_str("the document is invalidated"),
            Self::Append => formatter.write_str("another document is invalidated"),
            Self::Begin => formatter.write_str("the log loses its commits, and another epoch begins"),
            Self::Load(at, clock) => write!(formatter, "{} loads, its clock shows {clock}", instance(at)),
            Self::Store(at) => write!(formatter, "{} stores", instance(at)),
        }
    }
}

impl Model for Newer {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { epoch: 1, ..State::default() }
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut fold = Fold(0);
        let [one, two] = state.loads;
        let now = Copied { epoch: state.epoch, position: state.position, as_of: state.last };
        fold.word(now.word() | state.tier.word() << 32);
        fold.word(one.word().min(two.word()) | one.word().max(two.word()) << 32);
        fold.done()
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let mut push = |what, change: &dyn Fn(&mut State)| {
            let mut after = *state;
            change(&mut after);
            next.push(Next { step: what, state: after, broken: None });
        };
        if state.position < self.entries {
            push(Step::Append, &|after| after.position += 1);
            push(Step::Invalidate, &|after| {
                after.position += 1;
                after.last = after.position;
            });
        }
        if state.epoch < self.epochs {
            push(Step::Begin, &|after| (after.epoch, after.position, after.last) = (after.epoch + 1, 0, 0));
        }
        for index in (0..INSTANCES).filter(|index| state.loads[*index].epoch == 0) {
            for as_of in 0..=self.clock {
                let loaded = Copied { epoch: state.epoch, position: state.position, as_of };
                push(Step::Load(index as u8, as_of), &|after| after.loads[index] = loaded);
            }
        }
        for index in (0..INSTANCES).filter(|index| state.loads[*index].epoch > 0) {
            let mut after = *state;
            let new = std::mem::take(&mut after.loads[index]);
            if self.replaces(state, state.tier, new) {
                after.tier = new;
            }
            let broken = wrongly_kept(state, new, after.tier);
            next.push(Next { step: Step::Store(index as u8), state: after, broken });
        }
    }

    fn show(&self, state: &State) -> String {
        let Copied { epoch, position, as_of } = state.tier;
        format!("log {}:{} | tier {epoch}:{position} of {as_of}", state.epoch, state.position)
    }
}

impl Copied {
    fn word(self) -> u64 {
        u64::from(u32::from_le_bytes([self.epoch, self.position, self.as_of, 0]))
    }

    fn is_valid(self, state: &State) -> bool {
        self.epoch == state.epoch && self.position >= state.last
    }
}

/// What a tier must not do when a copy is stored.
fn wrongly_kept(state: &State, new: Copied, kept: Copied) -> Option<String> {
    let valid = [state.tier, new].into_iter().filter(|one| one.is_valid(state));
    let best = valid.map(|one| one.position).max()?;
    if !kept.is_valid(state) {
        return Some("an invalid copy stands in the way of a valid one".to_owned());
    }
    (kept.position < best).then(|| "the copy that was read earlier in the log is kept".to_owned())
}

impl Newer {
    fn replaces(&self, state: &State, there: Copied, new: Copied) -> bool {
        let newer = (new.position, new.as_of) >= (there.position, there.as_of);
        match self.mutant {
            Some(NewerMutant::ByClock) => there.epoch == 0 || new.as_of >= there.as_of,
            Some(NewerMutant::ByClockAmongValid) => !there.is_valid(state) || new.as_of >= there.as_of,
            Some(NewerMutant::AcrossEpochs) => there.epoch == 0 || newer,
            None => !there.is_valid(state) || (new.is_valid(state) && newer),
        }
    }
}
