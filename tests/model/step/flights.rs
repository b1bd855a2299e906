//! A load: looks into the tiers, reads the sources, lands; its document reaches the tiers behind the answer.

use super::{Protocol, Step, Steps};
use crate::{
    mutants::Mutant,
    state::{Flight, Phase, SECTIONS, Snapshot, Stage, State},
};

impl Protocol {
    pub(super) fn flights(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let own = &state.instances[usize::from(at)];
        for (index, one) in own.flights.iter().enumerate() {
            let flight = index as u8;
            match one.stage {
                Stage::None => {}
                Stage::Boarded | Stage::Based => {
                    // A miss is one step with the beginning of the reads: whatever may happen between
                    // them may as well happen before both.
                    steps.add(Step::BeginReads { at, flight }, self.begin_reads(state, at, index));
                    if one.stage == Stage::Based || !own.caught_up {
                        continue;
                    }
                    for (stored, snapshot) in state.redis.iter().enumerate().take_while(|(_, one)| one.is_there()) {
                        let step = Step::FindInRedis { at, flight, stored: stored as u8 };
                        self.found(state, at, index, snapshot, step, self.is(Mutant::TrustsRedis), steps);
                    }
                    if state.database.row.is_there() {
                        let step = Step::FindInTable { at, flight };
                        self.found(state, at, index, &state.database.row, step, false, steps);
                    }
                }
                Stage::Reading => {
                    let mut sealed = one.held;
                    if self.is(Mutant::TagTakenAtTheEnd) {
                        sealed.tag = [own.applied; SECTIONS];
                        if self.configuration.sections == 1 {
                            sealed.tag[1] = 0;
                        }
                    }
                    self.land(state, at, index, &sealed, true, Step::Land { at, flight, partial: false }, steps);
                    if self.configuration.partial {
                        sealed.partial = true;
                        self.land(state, at, index, &sealed, true, Step::Land { at, flight, partial: true }, steps);
                    }
                }
            }
        }
    }

    fn begin_reads(&self, state: &State, at: u8, index: usize) -> State {
        let mut after = *state;
        let flight = &mut after.instances[usize::from(at)].flights[index];
        flight.stage = Stage::Reading;
        flight.held.incarnation = flight.incarnation;
        for section in self.sections() {
            if flight.reused & 1 << section == 0 {
                flight.held.tag[section] = flight.tag;
                flight.held.knows[section] = state.called;
            }
        }
        after
    }

    /// A load judges what a tier gave it: served if all of it is valid, a base if some of it is.
    #[expect(clippy::too_many_arguments, reason = "a value's way through one load")]
    fn found(
        &self,
        state: &State,
        at: u8,
        index: usize,
        snapshot: &Snapshot,
        step: Step,
        trusted: bool,
        steps: &mut Steps<'_>,
    ) {
        let own = &state.instances[usize::from(at)];
        let all = (1 << self.configuration.sections) - 1;
        if trusted || self.admits(own, snapshot, all) {
            // To the upper tiers only.
            self.land(state, at, index, snapshot, false, step, steps);
            return;
        }
        if self.configuration.sections == 1 || snapshot.partial || !self.readable(own, snapshot) {
            return;
        }
        let valid =
            |section: &usize| own.is_valid(*section, snapshot.tag[*section]) || self.is(Mutant::ReusesFencedSections);
        let reused = self.sections().filter(valid).fold(0, |set, one| set | 1 << one);
        if reused == 0 || snapshot.incarnation != own.flights[index].incarnation {
            return;
        }
        let mut after = *state;
        let flight = &mut after.instances[usize::from(at)].flights[index];
        flight.stage = Stage::Based;
        flight.reused = reused;
        for section in self.sections() {
            if reused & 1 << section != 0 {
                flight.held.tag[section] = snapshot.tag[section];
                flight.held.knows[section] = snapshot.knows[section];
            }
        }
        steps.add(step, after);
    }

    /// Keeps a document in memory, answers those who wait, and sends it to the tiers behind the answer.
    #[expect(clippy::too_many_arguments, reason = "a document's way out of one load")]
    fn land(
        &self,
        state: &State,
        at: u8,
        index: usize,
        snapshot: &Snapshot,
        assembled: bool,
        step: Step,
        steps: &mut Steps<'_>,
    ) {
        let mut after = *state;
        let own = &state.instances[usize::from(at)];
        after.instances[usize::from(at)].flights[index] = Flight::default();
        let mut broken = None;
        if snapshot.is_there() {
            let all = (1 << self.configuration.sections) - 1;
            let hides = snapshot.partial
                && !own.memory.partial
                && self.admits(own, &own.memory, all)
                && !self.is(Mutant::PartialOverComplete);
            if !hides {
                broken = broken.or(self.replaces_a_better_one(state, &own.memory, snapshot, "memory"));
                after.instances[usize::from(at)].memory = *snapshot;
            }
            if assembled && self.configuration.redis {
                self.send_to_redis(&mut after, snapshot);
            }
            if assembled && self.configuration.row {
                let free = after.writes.iter_mut().find(|(write, _)| !write.is_there()).expect("room for all writes");
                *free = (*snapshot, own.fence());
            }
        }
        for request in 0..self.configuration.requests.len() {
            let one = &state.requests[request];
            if one.phase == Phase::Waiting && one.at == at && usize::from(one.flight) == index {
                broken = broken.or(self.answer(&mut after, request, snapshot));
            }
        }
        steps.judged(step, after, broken);
    }

    fn send_to_redis(&self, state: &mut State, snapshot: &Snapshot) {
        if !state.redis.contains(snapshot) {
            *state.redis.iter_mut().find(|stored| !stored.is_there()).expect("room for all values") = *snapshot;
        }
    }

    pub(super) fn writes(&self, state: &State, steps: &mut Steps<'_>) {
        for (index, (snapshot, fence)) in state.writes.iter().enumerate() {
            if !snapshot.is_there() {
                continue;
            }
            let mut after = *state;
            after.writes[index] = Default::default();
            steps.add(Step::Write { write: index as u8, stored: false }, after);
            let row = &state.database.row;
            let keeps = row.is_there()
                && row.incarnation == snapshot.incarnation
                && snapshot.partial
                && !row.partial
                && row.tag[0].max(row.tag[1]) >= *fence;
            // Which of two is newer is for clocks to say: a write that is lost stands for one refused.
            if !keeps || self.is(Mutant::PartialOverComplete) {
                let broken = self.replaces_a_better_one(state, row, snapshot, "the table");
                after.database.row = *snapshot;
                steps.judged(Step::Write { write: index as u8, stored: true }, after, broken);
            }
        }
    }
}
