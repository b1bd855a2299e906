//! A request: arrives, learns whether the log is valid, looks into memory, and otherwise joins or starts a load.

use super::{Protocol, Step, Steps};
use crate::{
    configurations::ReadOptions,
    mutants::Mutant,
    state::{Instance, Load, Phase, Progress, Reading, Snapshot, Stage, State},
};

impl Protocol {
    pub(super) fn requests(&self, state: &State, steps: &mut Steps<'_>) {
        for (index, wish) in self.configuration.requests.iter().enumerate() {
            let request = index as u8;
            let one = &state.requests[index];
            match one.phase {
                Phase::Idle => {
                    let alike = index > 0 && self.configuration.requests[index - 1] == *wish;
                    if alike && state.requests[index - 1].phase == Phase::Idle {
                        continue;
                    }
                    if self.cannot_come_yet(state, *wish) {
                        continue;
                    }
                    for at in self.instances() {
                        steps.add(Step::Arrive { request, at }, self.arrive(state, index, *wish, at));
                    }
                }
                Phase::Queued | Phase::CatchingUp
                    if self.configuration.impatient && !wish.linearizable && wish.token.is_none() =>
                {
                    let mut after = *state;
                    after.requests[index].phase = Phase::Checked;
                    steps.add(Step::GiveUp { request }, after);
                }
                Phase::Checked => self.look(state, index, *wish, steps),
                Phase::Queued | Phase::CatchingUp | Phase::Waiting | Phase::Answered => {}
            }
        }
    }

    /// A token exists once its invalidation is acknowledged.
    fn cannot_come_yet(&self, state: &State, wish: ReadOptions) -> bool {
        wish.token.is_some_and(|of| state.invalidations[usize::from(of)].progress != Progress::Done)
    }

    fn arrive(&self, state: &State, index: usize, wish: ReadOptions, at: u8) -> State {
        let mut after = *state;
        let own = &state.instances[usize::from(at)];
        let request = &mut after.requests[index];
        request.at = at;
        (request.must, request.must_if_verified) = self.bound(state, at, wish);
        let behind =
            wish.token.is_some_and(|of| own.applied < state.invalidations[usize::from(of)].position || own.epoch == 0);
        let must_read = wish.linearizable || (behind && !self.is(Mutant::IgnoresTheToken));
        let leased = own.caught_up && (own.lease_left > 0 || self.is(Mutant::NoLease));
        if leased && !must_read {
            request.phase = Phase::Checked;
            request.verified = true;
        } else if self.is(Mutant::SharesASentCatchUp) && own.reading != Reading::Idle {
            request.phase = Phase::CatchingUp;
        } else {
            request.phase = Phase::Queued;
        }
        after
    }

    fn look(&self, state: &State, index: usize, wish: ReadOptions, steps: &mut Steps<'_>) {
        let request = index as u8;
        let at = state.requests[index].at;
        let own = &state.instances[usize::from(at)];
        let step = Step::Look { request };
        // Nothing cached is served before the first complete catch-up.
        if own.caught_up && self.admits(own, &own.memory, wish.sections) {
            let mut after = *state;
            let broken = self.answer(&mut after, index, &own.memory);
            steps.judged(step, after, broken);
            return;
        }
        let joins = |load: &Load| {
            let newer = load.read_position >= own.last_invalidation() || self.is(Mutant::JoinsAnOlderLoad);
            let same_log =
                load.epoch == own.epoch || self.is(Mutant::JoinsAcrossEpochs) || self.is(Mutant::JoinsAnOlderLoad);
            load.listed && newer && same_log
        };
        let mut after = *state;
        if let Some(load) = own.loads.iter().position(joins) {
            after.requests[index].load = load as u8;
        } else if let Some(free) = own.loads.iter().position(|load| load.stage == Stage::None) {
            let loads = &mut after.instances[usize::from(at)].loads;
            // Replaces an outdated load. That load goes on for the requests that joined it.
            for older in loads.iter_mut() {
                older.listed = false;
            }
            loads[free] = Load {
                stage: Stage::Started,
                listed: true,
                epoch: own.epoch,
                read_position: own.applied,
                ..Load::default()
            };
            after.requests[index].load = free as u8;
        } else {
            return;
        }
        after.requests[index].phase = Phase::Waiting;
        steps.add(step, after);
    }

    /// Whether every requested section can be served.
    pub(super) fn admits(&self, own: &Instance, snapshot: &Snapshot, asked: u8) -> bool {
        self.readable(own, snapshot)
            && self
                .sections()
                .all(|section| asked & 1 << section == 0 || own.is_valid(section, snapshot.read_position[section]))
    }

    pub(super) fn readable(&self, own: &Instance, snapshot: &Snapshot) -> bool {
        snapshot.is_there()
            && (snapshot.epoch == own.epoch || self.is(Mutant::IgnoresTheEpoch))
            && snapshot.read_position.iter().all(|read_position| *read_position <= own.applied)
    }
}
