//! A relay and its inserts: takes over, reads the outbox, makes the invalidations durable, ends the round.

use super::{Insert, RELAYS, Relay, RoundMutant, Rounds, Row, Stage, State, Step, Way, step};
use crate::explore::Next;

impl Rounds {
    pub(super) fn relay(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let one = &state.relays[usize::from(at)];
        match one.stage {
            Stage::Out => self.take_over(state, at, next),
            Stage::Inserting => {}
            Stage::Holding => {
                let mut after = *state;
                let own = &mut after.relays[usize::from(at)];
                own.stage = Stage::Read;
                (own.before, own.read) = (state.stored, state.committed);
                next.push(step(Step::ReadOutbox(at), after));
                self.stop(state, at, next);
            }
            Stage::Read | Stage::Ended => self.make_durable(state, at, next),
            Stage::Durable => self.end_round(state, at, Stage::Inserting, next),
        }
        if one.stage == Stage::Read && self.is(RoundMutant::EndsBeforeDurable) {
            self.end_round(state, at, Stage::Ended, next);
        }
        if one.stage != Stage::Out && state.faults < self.faults {
            let mut after = *state;
            after.faults += 1;
            after.relays[usize::from(at)] = Relay { holder: one.holder, ..Relay::default() };
            for insert in &mut after.inserts {
                insert.sender = insert.sender.filter(|sender| *sender != at);
            }
            next.push(step(Step::GiveUp(at), after));
        }
    }

    fn take_over(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let over = state.newest;
        let own = &state.relays[usize::from(at)];
        if over.round > 0 && over.holder == own.holder && own.holder > 0 {
            let mut after = *state;
            after.relays[usize::from(at)] = Relay { stage: Stage::Holding, row: over, ..*own };
            next.push(step(Step::Recover(at), after));
            return;
        }
        if state.numbers == self.takeovers {
            return;
        }
        let fresh = state.numbers + 1;
        let holder = if self.is(RoundMutant::SameHolder) { at + 1 } else { fresh };
        if over.round == 0 {
            let birth = if self.is(RoundMutant::SameBirth) { 1 } else { fresh };
            for &round in self.begins {
                self.try_it(state, at, Row { round, holder, completed: 0, birth }, next);
            }
        } else if over.round < self.rounds {
            self.try_it(state, at, Row { holder, ..self.after_unfinished(over) }, next);
        }
    }

    /// The row after one whose round is not completed by it.
    fn after_unfinished(&self, over: Row) -> Row {
        let completed = if self.is(RoundMutant::TakeoverCompletes) { over.round } else { over.completed };
        Row { round: over.round + 1, holder: 0, completed, birth: over.birth }
    }

    fn try_it(&self, state: &State, at: u8, row: Row, next: &mut Vec<Next<Self>>) {
        let Some(free) = state.lowest_free_insert() else { return };
        let mut after = *state;
        after.numbers += 1;
        after.inserts[free] = Insert { way: Way::Sent, row, over: state.newest.named(), sender: Some(at) };
        after.relays[usize::from(at)] = Relay { stage: Stage::Inserting, holder: row.holder, ..Relay::default() };
        next.push(step(Step::TakeOver(at, row.round), after));
    }

    /// What was consumed is replaced only if it is what the outbox was read against.
    fn make_durable(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let mut after = *state;
        let own = &mut after.relays[usize::from(at)];
        if state.stored == own.before {
            own.stage = match own.stage {
                Stage::Ended if state.inserts.iter().any(|insert| insert.sender == Some(at)) => Stage::Inserting,
                Stage::Ended => Stage::Holding,
                _ => Stage::Durable,
            };
            if own.read > own.before {
                after.log[usize::from(state.length)] = own.read;
                after.length += 1;
            }
            after.stored = own.read;
            (own.before, own.read) = (0, 0);
        } else {
            *own = Relay { holder: own.holder, ..Relay::default() };
            after.inserts.iter_mut().for_each(|insert| insert.sender = insert.sender.filter(|sender| *sender != at));
        }
        next.push(step(Step::Durable(at), after));
    }

    fn end_round(&self, state: &State, at: u8, stage: Stage, next: &mut Vec<Next<Self>>) {
        let over = state.relays[usize::from(at)].row;
        let (Some(free), true) = (state.lowest_free_insert(), over.round < self.rounds) else { return };
        let mut after = *state;
        let row = Row { round: over.round + 1, completed: over.round, ..over };
        after.inserts[free] = Insert { way: Way::Sent, row, over: over.named(), sender: Some(at) };
        after.relays[usize::from(at)].stage = stage;
        next.push(step(Step::EndRound(at), after));
    }

    fn stop(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let own = &state.relays[usize::from(at)];
        let free = state.lowest_free_insert().filter(|_| state.faults < self.faults && own.row.round < self.rounds);
        let Some(free) = free else { return };
        let mut after = *state;
        after.faults += 1;
        after.inserts[free] =
            Insert { way: Way::Sent, row: self.after_unfinished(own.row), over: own.row.named(), sender: None };
        after.relays[usize::from(at)] = Relay { holder: own.holder, ..Relay::default() };
        next.push(step(Step::Stop(at), after));
    }

    pub(super) fn insert(&self, state: &State, index: u8, next: &mut Vec<Next<Self>>) {
        let insert = state.inserts[usize::from(index)];
        let over = insert.over;
        let unasked = over.round > 0 && self.is(RoundMutant::NoCondition);
        let allowed = unasked || (state.newest.round, state.newest.holder) == (over.round, over.holder);
        let mut after = *state;
        match insert.way {
            Way::Free => {}
            Way::Sent if allowed && self.races => {
                after.inserts[usize::from(index)].way = Way::Allowed;
                next.push(step(Step::Evaluate(index), after));
            }
            Way::Sent if !allowed => {
                self.refused(&mut after, index);
                next.push(step(Step::Put(index), after));
            }
            Way::Sent | Way::Allowed => self.put(state, index, next),
        }
    }

    fn put(&self, state: &State, index: u8, next: &mut Vec<Next<Self>>) {
        let mut insert = state.inserts[usize::from(index)];
        let mut after = *state;
        let key = 1 << insert.row.round;
        if state.keys & key != 0 && !self.is(RoundMutant::NoCompareAndSet) {
            self.refused(&mut after, index);
            next.push(step(Step::Put(index), after));
            return;
        }
        after.keys |= key;
        // The statement copies the birth of the newest row.
        if insert.over.round > 0 && state.newest.round > 0 {
            insert.row.birth = state.newest.birth;
        }
        if insert.row.round >= state.newest.round {
            after.newest = insert.row;
        }
        after.inserts[usize::from(index)] = Insert::default();
        let broken = insert.sender.and_then(|at| self.holds(&mut after, at, insert.row));
        next.push(Next { step: Step::Put(index), state: after, broken });
    }

    fn refused(&self, state: &mut State, index: u8) {
        let insert = std::mem::take(&mut state.inserts[usize::from(index)]);
        if let Some(at) = insert.sender {
            let own = &mut state.relays[usize::from(at)];
            *own = Relay { holder: own.holder, ..Relay::default() };
        }
    }

    /// A relay learns that its row is there. Returns the promise that this breaks.
    fn holds(&self, state: &mut State, at: u8, row: Row) -> Option<String> {
        let own = &mut state.relays[usize::from(at)];
        own.row = row;
        if own.stage == Stage::Inserting {
            own.stage = Stage::Holding;
        }
        let other = &state.relays[RELAYS - 1 - usize::from(at)];
        let at_work = matches!(other.stage, Stage::Holding | Stage::Read | Stage::Durable);
        (self.races && at_work && (other.row.round, other.row.birth) == (row.round, row.birth))
            .then(|| format!("two relays hold round {}", row.round))
    }
}
