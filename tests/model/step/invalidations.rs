//! Time, and the invalidations that are appended to the log.

use super::{Protocol, Step, Steps};
use crate::{
    configurations::Kind,
    mutants::Mutant,
    state::{Instance, LogRow, Progress, Reading, State},
};

impl Protocol {
    pub(super) fn time(&self, state: &State, steps: &mut Steps<'_>) {
        let lease = self.configuration.lease;
        if !self.configuration.time {
            return;
        }
        let mut after = *state;
        let mut moved = false;
        for one in &mut after.instances {
            moved |= one.lease_left > 0;
            one.lease_left = one.lease_left.saturating_sub(1);
            if one.reading != Reading::Idle && one.read_age < lease {
                one.read_age += 1;
                moved = true;
            }
        }
        for one in &mut after.invalidations {
            let counts = one.progress >= Progress::Committed && one.position > 0;
            if counts && one.since < lease {
                one.since += 1;
                moved = true;
            }
        }
        if moved {
            steps.add(Step::Tick, after);
        }
    }

    pub(super) fn invalidations(&self, state: &State, steps: &mut Steps<'_>) {
        for (index, invalidation) in self.configuration.invalidations.iter().enumerate() {
            let one = &state.invalidations[index];
            let name = index as u8;
            // Of two like invalidations the first one comes first.
            let alike = index > 0 && self.configuration.invalidations[index - 1] == *invalidation;
            let waits = alike && state.invalidations[index - 1].progress == Progress::Idle;
            match (invalidation.kind, one.progress) {
                (_, Progress::Idle) if waits => {}
                (Kind::Elsewhere, Progress::Idle) => {
                    let mut after = *state;
                    after.called |= 1 << index;
                    self.commit(&mut after, index);
                    steps.add(Step::Commit { invalidation: name }, after);
                }
                (Kind::Elsewhere, _) => {}
                (_, Progress::Idle) => {
                    for at in self.instances() {
                        let mut after = *state;
                        after.called |= 1 << index;
                        after.invalidations[index].progress = Progress::Called;
                        after.invalidations[index].at = at;
                        steps.add(Step::Call { invalidation: name, at }, after);
                    }
                }
                (_, Progress::Called) if self.is(Mutant::SequenceForACounter) => {
                    let mut after = *state;
                    after.invalidations[index].progress = Progress::Between;
                    let drawn = state.invalidations.iter().map(|other| other.position).max().unwrap_or(0);
                    after.invalidations[index].position = drawn + 1;
                    steps.add(Step::Draw { invalidation: name }, after);
                }
                (_, Progress::Called | Progress::Between) => {
                    let mut after = *state;
                    self.commit(&mut after, index);
                    if self.is(Mutant::AppliesOnlyItsOwnRow) {
                        let (position, nonce) = (after.database.position, after.database.nonces);
                        let home = &mut after.instances[usize::from(one.at)];
                        self.apply_row(home, invalidation.sections, position);
                        home.applied = position;
                        home.nonce = nonce;
                        after.invalidations[index].progress = Progress::CaughtUp;
                    }
                    if self.is(Mutant::SharesASentCatchUp)
                        && state.instances[usize::from(one.at)].reading != Reading::Idle
                    {
                        after.invalidations[index].progress = Progress::CatchingUp;
                    }
                    if self.is(Mutant::AcknowledgesBeforeApplying) {
                        after.invalidations[index].progress = Progress::CaughtUp;
                    }
                    steps.add(Step::Commit { invalidation: name }, after);
                }
                (kind, Progress::CaughtUp) => {
                    let applied = state.instances[usize::from(one.at)].applied >= one.position
                        || self.is(Mutant::AcknowledgesBeforeApplying);
                    let waited = kind != Kind::WaitAll
                        || one.since >= self.configuration.lease
                        || self.is(Mutant::WaitAllDoesNotWait);
                    if applied && waited {
                        let mut after = *state;
                        after.invalidations[index].progress = Progress::Done;
                        steps.add(Step::Acknowledge { invalidation: name }, after);
                    }
                }
                (_, Progress::Committed | Progress::CatchingUp | Progress::Done | Progress::Orphaned) => {}
            }
        }
    }

    /// The counter row's lock is held until COMMIT, so for other transactions, advancing the counter and appending the row
    /// are one step.
    fn commit(&self, state: &mut State, index: usize) {
        let one = &mut state.invalidations[index];
        let database = &mut state.database;
        // A sequence has given the position before.
        let position =
            if one.progress == Progress::Between && one.position > 0 { one.position } else { database.position + 1 };
        one.position = position;
        one.progress = Progress::Committed;
        one.since = 0;
        database.position = database.position.max(position);
        database.nonces += 1;
        let sections = self.configuration.invalidations[index].sections;
        database.log[usize::from(position) - 1] = LogRow { nonce: database.nonces, sections };
    }

    /// Applies one row of the log.
    pub(super) fn apply_row(&self, instance: &mut Instance, sections: u8, position: u8) {
        for section in self.sections() {
            if self.concerns(sections, section)
                && !(self.is(Mutant::ForgetsWhatIsMadeFromASection) && sections & 1 << section == 0)
            {
                instance.last_invalidations[section] = position;
            }
        }
    }

    /// Whether an invalidation of some sections concerns one section: the second is made from the first.
    pub(crate) fn concerns(&self, sections: u8, section: usize) -> bool {
        sections & 1 << section != 0 || (section == 1 && sections & 1 != 0)
    }
}
