//! A request: arrives and learns how far the log may be trusted, looks into memory, else boards a load.

use super::{Protocol, Step, Steps};
use crate::{
    configurations::ReadOptions,
    mutants::Mutant,
    state::{Flight, Instance, Phase, Progress, Reading, Snapshot, Stage, State},
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
                Phase::Queued | Phase::Riding
                    if self.configuration.impatient && !wish.linearizable && wish.token.is_none() =>
                {
                    let mut after = *state;
                    after.requests[index].phase = Phase::Checked;
                    steps.add(Step::GiveUp { request }, after);
                }
                Phase::Checked => self.look(state, index, *wish, steps),
                Phase::Queued | Phase::Riding | Phase::Waiting | Phase::Answered => {}
            }
        }
    }

    /// A token is there once its invalidation is acknowledged.
    fn cannot_come_yet(&self, state: &State, wish: ReadOptions) -> bool {
        wish.token.is_some_and(|of| state.invalidations[usize::from(of)].progress != Progress::Done)
    }

    fn arrive(&self, state: &State, index: usize, wish: ReadOptions, at: u8) -> State {
        let mut after = *state;
        let own = &state.instances[usize::from(at)];
        let request = &mut after.requests[index];
        request.at = at;
        (request.must, request.must_if_verified) = self.bound(state, at, wish);
        let behind = wish
            .token
            .is_some_and(|of| own.applied < state.invalidations[usize::from(of)].position || own.incarnation == 0);
        let must_read = wish.linearizable || (behind && !self.is(Mutant::IgnoresTheToken));
        let leased = own.caught_up && (own.lease_left > 0 || self.is(Mutant::NoLease));
        if leased && !must_read {
            request.phase = Phase::Checked;
            request.verified = true;
        } else if self.is(Mutant::SharesASentCatchUp) && own.reading != Reading::Idle {
            request.phase = Phase::Riding;
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
        let joins = |flight: &Flight| {
            let newer = flight.tag >= own.fence() || self.is(Mutant::JoinsAnOlderFlight);
            let same_log = flight.incarnation == own.incarnation
                || self.is(Mutant::JoinsAcrossIncarnations)
                || self.is(Mutant::JoinsAnOlderFlight);
            flight.listed && newer && same_log
        };
        let mut after = *state;
        if let Some(flight) = own.flights.iter().position(joins) {
            after.requests[index].flight = flight as u8;
        } else if let Some(free) = own.flights.iter().position(|flight| flight.stage == Stage::None) {
            let flights = &mut after.instances[usize::from(at)].flights;
            // A flight older than the fence loses its place but goes on for those who joined it.
            for older in flights.iter_mut() {
                older.listed = false;
            }
            flights[free] = Flight {
                stage: Stage::Boarded,
                listed: true,
                incarnation: own.incarnation,
                tag: own.applied,
                ..Flight::default()
            };
            after.requests[index].flight = free as u8;
        } else {
            return;
        }
        after.requests[index].phase = Phase::Waiting;
        steps.add(step, after);
    }

    /// Whether every asked section can be served.
    pub(super) fn admits(&self, own: &Instance, snapshot: &Snapshot, asked: u8) -> bool {
        self.readable(own, snapshot)
            && self.sections().all(|section| asked & 1 << section == 0 || own.is_valid(section, snapshot.tag[section]))
    }

    pub(super) fn readable(&self, own: &Instance, snapshot: &Snapshot) -> bool {
        snapshot.is_there()
            && (snapshot.incarnation == own.incarnation || self.is(Mutant::IgnoresTheIncarnation))
            && snapshot.tag.iter().all(|tag| *tag <= own.applied)
    }
}
