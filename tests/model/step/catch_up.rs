//! The local copy of the log: a catch-up is sent, reads the head, reads and applies the rows, renews the lease.

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
                // Every request that arrived before the read was sent shares it.
                for request in &mut after.requests {
                    if request.phase == Phase::Queued && request.at == at {
                        request.phase = Phase::CatchingUp;
                    }
                }
                for (one, invalidation) in after.invalidations.iter_mut().zip(self.configuration.invalidations) {
                    let waits = matches!(invalidation.kind, Kind::Plain | Kind::WaitAll);
                    if waits && one.progress == Progress::Committed && one.at == at {
                        one.progress = Progress::CatchingUp;
                    }
                }
                steps.add(Step::Send { at }, after);
            }
            Reading::Sent => {
                let database = &state.database;
                let other_log = database.epoch != before.epoch;
                let nonce_there = database.at(before.applied).nonce;
                if other_log {
                    own.epoch = database.epoch;
                    own.applied = database.low_watermark;
                    own.low_watermark = database.low_watermark;
                    own.nonce = 0;
                    own.last_invalidations = [0; SECTIONS];
                    // Starts again with a new read. The lease of the old log goes on.
                    own.read_age = 0;
                } else if database.position < before.applied
                    || (before.applied > database.low_watermark && nonce_there != before.nonce)
                {
                    own.reading = Reading::Lost;
                } else {
                    own.reading = Reading::Head;
                    own.head_position = database.position;
                    own.head_low_watermark = database.low_watermark;
                    if self.is(Mutant::LeaseBeforeTheRows) {
                        own.lease_left = lease - before.read_age;
                    }
                }
                steps.add(Step::ReadHead { at }, after);
            }
            Reading::Lost => {
                own.reading = Reading::Sent;
                own.read_age = 0;
                if state.database.epoch == before.epoch {
                    after.database.epoch += 1;
                    after.database.low_watermark = after.database.position;
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
                    if request.phase == Phase::CatchingUp && request.at == at {
                        request.phase = Phase::Checked;
                        request.verified = true;
                    }
                }
                for one in &mut after.invalidations {
                    if one.progress == Progress::CatchingUp && one.at == at {
                        one.progress = Progress::CaughtUp;
                    }
                }
                steps.add(Step::Extend { at }, after);
            }
        }
    }

    /// A read that finds nothing new and has no waiting request changes only the lease.
    fn has_reason_to_read(&self, state: &State, at: u8) -> bool {
        let own = &state.instances[usize::from(at)];
        let database = &state.database;
        !own.caught_up
            || own.lease_left < self.configuration.lease
            || own.epoch != database.epoch
            || own.applied != database.position
            || own.low_watermark < database.low_watermark
            || state.requests.iter().any(|one| one.phase == Phase::Queued && one.at == at)
            || state.invalidations.iter().any(|one| one.progress == Progress::Committed && one.at == at)
    }

    fn apply(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let mut after = *state;
        let database = &state.database;
        let own = &mut after.instances[usize::from(at)];
        let follows = own.applied <= database.low_watermark || database.at(own.applied).nonce == own.nonce;
        if !follows && !self.is(Mutant::TakesTheRowsOfAnotherLog) {
            own.reading = Reading::Lost;
            (own.head_position, own.head_low_watermark) = (0, 0);
            steps.add(Step::ApplyRows { at }, after);
            return;
        }
        let mut contiguous = true;
        for position in own.applied + 1..=own.head_position {
            let row = database.at(position);
            if row.nonce == 0 {
                contiguous = false;
                continue;
            }
            self.apply_row(own, row.sections, position);
            own.nonce = row.nonce;
        }
        own.low_watermark = own.low_watermark.max(own.head_low_watermark);
        if !contiguous && !self.is(Mutant::SequenceForACounter) {
            own.low_watermark = own.low_watermark.max(own.head_position);
        }
        own.applied = own.head_position;
        own.reading = Reading::Applied;
        (own.head_position, own.head_low_watermark) = (0, 0);
        steps.add(Step::ApplyRows { at }, after);
    }

    /// An instance that had applied lost invalidations has started a new epoch: they bind again.
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
