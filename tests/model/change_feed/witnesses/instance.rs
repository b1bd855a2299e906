//! An instance: appends, raises witnesses, loads and serves documents, dies and starts.

use super::{
    DOCUMENTS, Document, EPOCHS, Instance, Mark, RECORDS, RENEWAL, Record, Set, Stage, State, Step, WitnessMutant,
    Witnesses, step,
};
use crate::explore::Next;

impl Witnesses {
    fn is(&self, mutant: WitnessMutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(super) fn instance(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let one = &state.instances[usize::from(at)];
        match one.stage {
            Stage::Running => self.run(state, at, next),
            Stage::Down => {
                let mut after = *state;
                let own = &mut after.instances[usize::from(at)];
                own.stage = Stage::Starting;
                own.is_judged = true;
                if self.is(WitnessMutant::HeadBeforeWitness) {
                    (own.epoch, own.applied) = (state.epoch(), state.head());
                } else {
                    own.witnesses = state.witnesses;
                }
                next.push(step(Step::BeginStart { at }, after));
            }
            Stage::Starting => self.end_start(state, at, next),
            Stage::Appended(invalidation) => {
                let mut after = *state;
                after.instances[usize::from(at)].stage = Stage::Running;
                let broken = self.raise(&mut after, at, |state| state.acknowledged |= 1 << invalidation);
                next.push(Next { step: Step::Acknowledge { at }, state: after, broken });
            }
            Stage::Judging(position) => {
                let mut after = *state;
                after.instances[usize::from(at)].stage = Stage::Running;
                let head = if self.is(WitnessMutant::HeadBeforeDocument) { one.applied } else { state.head() };
                let is_lost = state.epoch() == one.epoch && head.position < position;
                let broken = if is_lost { self.begin_epoch(&mut after, at, 0) } else { None };
                next.push(Next { step: Step::Judge { at }, state: after, broken });
            }
        }
        if one.stage != Stage::Down && state.deaths < self.deaths {
            let mut after = *state;
            after.deaths += 1;
            after.instances[usize::from(at)] = Instance { stage: Stage::Down, ..Instance::default() };
            next.push(step(Step::Die { at }, after));
        }
    }

    fn run(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let one = &state.instances[usize::from(at)];
        let is_current = one.epoch == state.epoch() && one.applied == state.head();
        if !is_current {
            let mut after = *state;
            let broken = self.catch_up(&mut after, at);
            next.push(Next { step: Step::CatchUp { at }, state: after, broken });
        }
        for invalidation in 0..self.invalidations.len() as u8 {
            let is_next = state.called & 1 << invalidation == 0;
            if is_next && state.length() < RECORDS && one.epoch == state.epoch() {
                self.append(state, at, invalidation, next);
                break;
            }
        }
        if is_current && state.renewals < self.renewals && state.length() < RECORDS {
            let mut after = *state;
            after.renewals += 1;
            let broken = self.begin_epoch(&mut after, at, RENEWAL);
            next.push(Next { step: Step::Renew { at }, state: after, broken });
        }
        if let Some(free) = state.documents.iter().position(|one| one.epoch == 0) {
            let knows = state.called;
            let document = Document { epoch: one.epoch, position: one.applied.position, knows };
            if !state.documents.contains(&document) {
                let mut after = *state;
                let broken = if self.is(WitnessMutant::StoresBeforeTheWitness) {
                    after.documents[free] = document;
                    None
                } else {
                    self.raise(&mut after, at, |state| state.documents[free] = document)
                };
                next.push(Next { step: Step::Load { at }, state: after, broken });
            }
        }
        for index in 0..DOCUMENTS as u8 {
            self.find(state, at, index, next);
        }
    }

    fn append(&self, state: &State, at: u8, invalidation: u8, next: &mut Vec<Next<Self>>) {
        let mut after = *state;
        after.log[state.length()] = Record::Entry(invalidation);
        after.called |= 1 << invalidation;
        after.instances[usize::from(at)].stage = Stage::Appended(invalidation);
        let broken = self.catch_up(&mut after, at);
        if self.is(WitnessMutant::AcknowledgesBeforeTheWitness) {
            after.acknowledged |= 1 << invalidation;
            after.instances[usize::from(at)].stage = Stage::Running;
        }
        next.push(Next { step: Step::Append { at, invalidation }, state: after, broken });
    }

    /// Reads the log. What one has applied is a witness, too.
    fn catch_up(&self, state: &mut State, at: u8) -> Option<String> {
        let one = state.instances[usize::from(at)];
        if one.epoch == state.epoch() && !state.has(one.applied, false) {
            return self.begin_epoch(state, at, 0);
        }
        let (epoch, head) = (state.epoch(), state.head());
        let own = &mut state.instances[usize::from(at)];
        (own.epoch, own.applied) = (epoch, head);
        None
    }

    /// Raises the witness to what the instance has applied, then does what needs it. A witness that the log contradicts
    /// shows a loss.
    fn raise(&self, state: &mut State, at: u8, then: impl FnOnce(&mut State)) -> Option<String> {
        let one = state.instances[usize::from(at)];
        let witness = state.witnesses[usize::from(one.epoch)];
        let unchecked = self.is(WitnessMutant::RaisedUnchecked);
        let only_positions = self.is(WitnessMutant::OnlyPositions);
        if one.epoch == state.epoch() && !unchecked && !state.has(witness, only_positions) {
            return self.begin_epoch(state, at, 0);
        }
        if one.applied.position > witness.position && !witness.is_ended {
            state.witnesses[usize::from(one.epoch)] = one.applied;
        }
        then(state);
        None
    }

    /// Ends the witness of the epoch, and begins another one.
    fn begin_epoch(&self, state: &mut State, at: u8, renewal: Set) -> Option<String> {
        if state.length() == RECORDS || usize::from(state.epochs) + 1 == EPOCHS {
            state.instances[usize::from(at)] = Instance { stage: Stage::Down, ..Instance::default() };
            return None;
        }
        let old = state.epoch();
        if !self.is(WitnessMutant::EpochNotEnded) {
            state.witnesses[usize::from(old)].is_ended = true;
        }
        let counted = self.is(WitnessMutant::EpochsAreCounted);
        let epoch = if counted { old + 1 } else { state.epochs + 1 };
        state.epochs = state.epochs.max(epoch);
        state.log[state.length()] = Record::Epoch(epoch);
        state.called |= renewal;
        state.acknowledged |= renewal;
        let head = state.head();
        let own = &mut state.instances[usize::from(at)];
        *own =
            Instance { stage: Stage::Running, epoch, applied: head, is_judged: own.is_judged, ..Instance::default() };
        let false_alarm = renewal == 0 && state.losses == 0;
        false_alarm.then(|| "a new epoch begins, though the database has lost nothing".to_owned())
    }

    fn end_start(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let mut after = *state;
        let own = &mut after.instances[usize::from(at)];
        let reversed = self.is(WitnessMutant::HeadBeforeWitness);
        if !reversed {
            (own.epoch, own.applied) = (state.epoch(), state.head());
        }
        let (epoch, head) = (own.epoch, own.applied);
        let witnesses = if reversed { state.witnesses } else { own.witnesses };
        own.witnesses = [Mark::default(); EPOCHS];
        own.stage = Stage::Running;
        let witness = witnesses[usize::from(epoch)];
        let is_there = match reversed {
            true => witness.position <= head.position && !witness.is_ended,
            false => state.has(witness, self.is(WitnessMutant::OnlyPositions)),
        };
        let mut broken = None;
        if !is_there && !self.is(WitnessMutant::NoWitness) {
            broken = self.begin_epoch(&mut after, at, 0);
        }
        next.push(Next { step: Step::EndStart { at }, state: after, broken });
    }

    fn find(&self, state: &State, at: u8, index: u8, next: &mut Vec<Next<Self>>) {
        let one = &state.instances[usize::from(at)];
        let document = state.documents[usize::from(index)];
        if document.epoch != one.epoch {
            return;
        }
        if document.position > one.applied.position {
            let mut after = *state;
            after.instances[usize::from(at)].stage = Stage::Judging(document.position);
            next.push(step(Step::Find { at, document: index }, after));
            return;
        }
        let is_current = one.epoch == state.epoch() && one.applied == state.head();
        let concerning = state.entries().enumerate().filter(|(_, entry)| self.invalidations[usize::from(*entry)]);
        let last = concerning.map(|(index, _)| index as u8 + 1).last().unwrap_or_default().max(state.floor());
        if !is_current || !one.is_judged || document.position < last {
            return;
        }
        let ours = self.invalidations.iter().enumerate().filter(|(_, ours)| **ours);
        let ours = ours.fold(RENEWAL, |set, (index, _)| set | 1 << index);
        let missed = state.acknowledged & ours & !document.knows;
        if missed != 0 {
            let broken = Some(format!("an acknowledged invalidation ({missed:b}) is missing"));
            next.push(Next { step: Step::Serve { at, document: index }, state: *state, broken });
        }
    }
}
