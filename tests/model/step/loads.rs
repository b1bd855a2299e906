//! A load: looks into the tiers, reads the sources, ends. Its document is stored in the tiers behind the answer.

use super::{Protocol, Step, Steps};
use crate::{
    mutants::Mutant,
    state::{Load, Phase, SECTIONS, Snapshot, Stage, State},
};

impl Protocol {
    pub(super) fn loads(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let own = &state.instances[usize::from(at)];
        for (index, one) in own.loads.iter().enumerate() {
            let load = index as u8;
            match one.stage {
                Stage::None => {}
                Stage::Started | Stage::Based => {
                    // A miss and the start of the reads are one step: an event between them has the same effect before
                    // both.
                    steps.add(Step::BeginReads { at, load }, self.begin_reads(state, at, index));
                    if one.stage == Stage::Based || !own.caught_up {
                        continue;
                    }
                    for (stored, snapshot) in state.redis.iter().enumerate().take_while(|(_, one)| one.is_there()) {
                        let step = Step::FindInRedis { at, load, stored: stored as u8 };
                        self.found(state, at, index, snapshot, step, self.is(Mutant::TrustsRedis), steps);
                    }
                    if state.database.row.is_there() {
                        let step = Step::FindInTable { at, load };
                        self.found(state, at, index, &state.database.row, step, false, steps);
                    }
                }
                Stage::Reading => {
                    let mut sealed = one.held;
                    if self.is(Mutant::ReadPositionTakenAtTheEnd) {
                        sealed.read_position = [own.applied; SECTIONS];
                        if self.configuration.sections == 1 {
                            sealed.read_position[1] = 0;
                        }
                    }
                    self.finish(state, at, index, &sealed, true, Step::Finish { at, load, partial: false }, steps);
                    if self.configuration.partial {
                        sealed.partial = true;
                        self.finish(state, at, index, &sealed, true, Step::Finish { at, load, partial: true }, steps);
                    }
                }
            }
        }
    }

    fn begin_reads(&self, state: &State, at: u8, index: usize) -> State {
        let mut after = *state;
        let load = &mut after.instances[usize::from(at)].loads[index];
        load.stage = Stage::Reading;
        load.held.epoch = load.epoch;
        for section in self.sections() {
            if load.reused & 1 << section == 0 {
                load.held.read_position[section] = load.read_position;
                load.held.knows[section] = state.called;
            }
        }
        after
    }

    /// A load judges a document from a tier. It is served if all of it is valid, and reused in part if some of it is.
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
            // Into the upper tiers only.
            self.finish(state, at, index, snapshot, false, step, steps);
            return;
        }
        if self.configuration.sections == 1 || snapshot.partial || !self.readable(own, snapshot) {
            return;
        }
        let valid = |section: &usize| {
            own.is_valid(*section, snapshot.read_position[*section]) || self.is(Mutant::ReusesOutdatedSections)
        };
        let reused = self.sections().filter(valid).fold(0, |set, one| set | 1 << one);
        if reused == 0 || snapshot.epoch != own.loads[index].epoch {
            return;
        }
        let mut after = *state;
        let load = &mut after.instances[usize::from(at)].loads[index];
        load.stage = Stage::Based;
        load.reused = reused;
        for section in self.sections() {
            if reused & 1 << section != 0 {
                load.held.read_position[section] = snapshot.read_position[section];
                load.held.knows[section] = snapshot.knows[section];
            }
        }
        steps.add(step, after);
    }

    /// Keeps a document in memory, answers the waiting requests, and stores it in the tiers behind the answer.
    #[expect(clippy::too_many_arguments, reason = "a document's way out of one load")]
    fn finish(
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
        after.instances[usize::from(at)].loads[index] = Load::default();
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
                *free = (*snapshot, own.last_invalidation());
            }
        }
        for request in 0..self.configuration.requests.len() {
            let one = &state.requests[request];
            if one.phase == Phase::Waiting && one.at == at && usize::from(one.load) == index {
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
        for (index, (snapshot, last_invalidation)) in state.writes.iter().enumerate() {
            if !snapshot.is_there() {
                continue;
            }
            let mut after = *state;
            after.writes[index] = Default::default();
            steps.add(Step::Write { write: index as u8, stored: false }, after);
            let row = &state.database.row;
            let keeps = row.is_there()
                && row.epoch == snapshot.epoch
                && snapshot.partial
                && !row.partial
                && row.read_position[0].max(row.read_position[1]) >= *last_invalidation;
            // Clocks decide which of two documents is newer. A refused write is modelled as a lost write.
            if !keeps || self.is(Mutant::PartialOverComplete) {
                let broken = self.replaces_a_better_one(state, row, snapshot, "the table");
                after.database.row = *snapshot;
                steps.judged(Step::Write { write: index as u8, stored: true }, after, broken);
            }
        }
    }
}
