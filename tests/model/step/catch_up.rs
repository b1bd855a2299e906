//! The copy of the log: a catch-up is sent, reads the head, reads and applies the rows, extends the lease.

use super::{Protocol, Step, Steps};
use crate::{
    configurations::Kind,
    mutants::Mutant,
    state::{Lost, Phase, Progress, Reading, SECTIONS, State},
};

impl Protocol {
    pub(super) fn catch_up(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let index = usize::from(at);
        let before = &state.instances[index];
        let lease = self.configuration.lease;
        let mut after = *state;
        let own = &mut after.instances[index];
        match before.reading {
            Reading::Idle => {
                if !self.configuration.polls && !self.has_reason_to_read(state, at) {
                    return;
                }
                own.reading = Reading::Sent;
                own.read_age = 0;
                // Callers that asked before the read was sent share it.
                for request in &mut after.requests {
                    if request.phase == Phase::Queued && request.at == at {
                        request.phase = Phase::Riding;
                    }
                }
                for (one, invalidation) in after.invalidations.iter_mut().zip(self.configuration.invalidations) {
                    let waits = matches!(invalidation.kind, Kind::Plain | Kind::WaitAll);
                    if waits && one.progress == Progress::Committed && one.at == at {
                        one.progress = Progress::Riding;
                    }
                }
                steps.add(Step::Send { at }, after);
            }
            Reading::Sent => {
                let database = &state.database;
                let other_log = database.incarnation != before.incarnation;
                let nonce_there = database.at(before.applied).nonce;
                if other_log {
                    own.incarnation = database.incarnation;
                    own.applied = database.floor;
                    own.floor = database.floor;
                    own.nonce = 0;
                    own.fences = [0; SECTIONS];
                    // Starts again, with a new read; the lease of the old log goes on.
                    own.read_age = 0;
                } else if database.seq < before.applied
                    || (before.applied > database.floor && nonce_there != before.nonce)
                {
                    own.reading = Reading::Lost;
                } else {
                    own.reading = Reading::Head;
                    own.read_seq = database.seq;
                    own.read_floor = database.floor;
                    if self.is(Mutant::LeaseBeforeTheRows) {
                        own.lease_left = lease - before.read_age;
                    }
                }
                steps.add(Step::ReadHead { at }, after);
            }
            Reading::Lost => {
                own.reading = Reading::Sent;
                own.read_age = 0;
                if state.database.incarnation == before.incarnation {
                    after.database.incarnation += 1;
                    after.database.floor = after.database.seq;
                    self.renew(&mut after, before.applied);
                }
                steps.add(Step::Replace { at }, after);
            }
            Reading::Head => {
                self.apply(state, at, steps);
            }
            Reading::Applied => {
                own.reading = Reading::Idle;
                if !self.is(Mutant::LeaseBeforeTheRows) {
                    let counted = if self.is(Mutant::LeaseFromTheReadsEnd) { 0 } else { before.read_age };
                    own.lease_left = lease - counted;
                }
                own.caught_up = true;
                own.read_age = 0;
                for request in &mut after.requests {
                    if request.phase == Phase::Riding && request.at == at {
                        request.phase = Phase::Checked;
                        request.verified = true;
                    }
                }
                for one in &mut after.invalidations {
                    if one.progress == Progress::Riding && one.at == at {
                        one.progress = Progress::CaughtUp;
                    }
                }
                steps.add(Step::Extend { at }, after);
            }
        }
    }

    /// A read that brings nothing new, and that no caller waits for, changes nothing but the lease.
    fn has_reason_to_read(&self, state: &State, at: u8) -> bool {
        let own = &state.instances[usize::from(at)];
        let database = &state.database;
        !own.caught_up
            || own.lease_left < self.configuration.lease
            || own.incarnation != database.incarnation
            || own.applied != database.seq
            || own.floor < database.floor
            || state.requests.iter().any(|one| one.phase == Phase::Queued && one.at == at)
            || state.invalidations.iter().any(|one| one.progress == Progress::Committed && one.at == at)
    }

    fn apply(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let mut after = *state;
        let database = &state.database;
        let own = &mut after.instances[usize::from(at)];
        let follows = own.applied <= database.floor || database.at(own.applied).nonce == own.nonce;
        if !follows && !self.is(Mutant::TakesTheRowsOfAnotherLog) {
            own.reading = Reading::Lost;
            (own.read_seq, own.read_floor) = (0, 0);
            steps.add(Step::ApplyRows { at }, after);
            return;
        }
        let mut contiguous = true;
        for position in own.applied + 1..=own.read_seq {
            let row = database.at(position);
            if row.nonce == 0 {
                contiguous = false;
                continue;
            }
            self.fence(own, row.sections, position);
            own.nonce = row.nonce;
        }
        own.floor = own.floor.max(own.read_floor);
        if !contiguous && !self.is(Mutant::SequenceForACounter) {
            own.floor = own.floor.max(own.read_seq);
        }
        own.applied = own.read_seq;
        own.reading = Reading::Applied;
        (own.read_seq, own.read_floor) = (0, 0);
        steps.add(Step::ApplyRows { at }, after);
    }

    /// An instance that had applied lost fences has started a new incarnation: they bind again.
    fn renew(&self, state: &mut State, witnessed: u8) {
        for one in &mut state.invalidations {
            if one.position > witnessed {
                continue;
            }
            one.lost = match one.lost {
                Lost::Forgotten => Lost::Renewed,
                Lost::KnownAtHome => Lost::RenewedAndKnownAtHome,
                other => other,
            };
            if matches!(one.lost, Lost::Renewed | Lost::RenewedAndKnownAtHome) {
                one.since = 0;
            }
        }
    }
}
