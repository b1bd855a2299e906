//! Faults: crashes, lost commits, a trimmed log, dropped invalidations.

use super::{Protocol, Step, Steps};
use crate::{
    configurations::Kind,
    mutants::Mutant,
    state::{Instance, LogRow, Lost, Phase, Progress, Request, SECTIONS, State},
};

impl Protocol {
    pub(super) fn faults(&self, state: &State, steps: &mut Steps<'_>) {
        let configuration = &self.configuration;
        for at in self.instances() {
            let own = &state.instances[usize::from(at)];
            if state.crashes < configuration.crashes && own.epoch != 0 {
                steps.add(Step::Crash { at }, self.crash(state, at));
            }
            if state.prunes < configuration.prunes && own.last_invalidations != [0; SECTIONS] {
                let mut after = *state;
                let pruned = &mut after.instances[usize::from(at)];
                pruned.last_invalidations = [0; SECTIONS];
                if !self.is(Mutant::PrunesWithoutTheLowWatermark) {
                    pruned.low_watermark = own.last_invalidation();
                }
                after.prunes += 1;
                steps.add(Step::Prune { at }, after);
            }
        }
        let database = &state.database;
        if state.trims < configuration.trims {
            for to in database.low_watermark + 1..=database.position {
                let mut after = *state;
                after.trims += 1;
                after.database.low_watermark = to;
                after.database.log[..usize::from(to)].fill(LogRow::default());
                steps.add(Step::Trim { to }, after);
            }
        }
        if state.losses < configuration.losses {
            for to in 0..database.position {
                steps.add(Step::Lose { to }, self.lose(state, to));
            }
        }
    }

    /// The process loses everything, and starts again at once with nothing.
    fn crash(&self, state: &State, at: u8) -> State {
        let mut after = *state;
        after.crashes += 1;
        after.instances[usize::from(at)] = Instance::default();
        for request in &mut after.requests {
            if request.at == at && request.phase != Phase::Idle {
                *request = Request { phase: Phase::Answered, ..Default::default() };
            }
        }
        for (one, invalidation) in after.invalidations.iter_mut().zip(self.configuration.invalidations) {
            if one.at != at || one.progress == Progress::Idle {
                continue;
            }
            one.lost = match one.lost {
                Lost::KnownAtHome => Lost::Forgotten,
                Lost::RenewedAndKnownAtHome => Lost::Renewed,
                other => other,
            };
            one.progress = match (invalidation.kind, one.progress) {
                (Kind::Elsewhere, same) | (_, same @ Progress::Done) => same,
                _ => Progress::Orphaned,
            };
        }
        after
    }

    /// A restore, or an asynchronous failover: commits are lost that instances may have seen.
    fn lose(&self, state: &State, to: u8) -> State {
        let mut after = *state;
        after.losses += 1;
        after.database.position = to;
        after.database.log[usize::from(to)..].fill(LogRow::default());
        for one in &mut after.invalidations {
            if one.position > to {
                let known = state
                    .instances
                    .get(usize::from(one.at))
                    .is_some_and(|home| home.epoch == state.database.epoch && home.applied >= one.position);
                one.lost = if known { Lost::KnownAtHome } else { Lost::Forgotten };
                one.since = 0;
            }
        }
        // Requests that are being answered are excused too, as far as no instance is bound.
        for request in &mut after.requests {
            for (index, one) in after.invalidations.iter().enumerate().filter(|(_, one)| one.lost != Lost::No) {
                request.must_if_verified &= !(1 << index);
                if one.lost == Lost::Forgotten {
                    request.must &= !(1 << index);
                }
            }
        }
        after
    }
}
