//! The reader: polls and what they certify, its copy of the log, and a document that it loads.

use super::{Copied, EpochMutant, Epochs, Poll, Reader, State, Step};
use crate::explore::Next;

impl Epochs {
    /// A state, and the promise that is broken in it: a verified answer is given from the document.
    pub(super) fn judged(&self, step: Step, state: State) -> Next<Self> {
        let Reader { epoch, floor, applied, last, certified, document, .. } = state.reader;
        let of_epoch = document.epoch == epoch || self.is(EpochMutant::KeepsDocuments);
        let is_valid = document.epoch != 0 && of_epoch && document.position >= last.max(floor);
        let is_verified = is_valid && document.position <= applied;
        let broken = (is_verified && document.knows < certified)
            .then(|| format!("a verified answer knows {} changes, {certified} are certified", document.knows));
        Next { step, state, broken }
    }

    pub(super) fn poll(&self, state: &State, index: u8, next: &mut Vec<Next<Self>>) {
        let poll = state.reader.polls[usize::from(index)];
        let mut after = *state;
        let own = &mut after.reader.polls[usize::from(index)];
        if !poll.is_sent {
            if state.reader.polls.iter().position(|one| !one.is_sent) == Some(usize::from(index)) {
                *own = Poll { is_sent: true, must: state.committed, ..Poll::default() };
                next.push(self.judged(Step::SendPoll(index), after));
            }
        } else if !poll.is_executed {
            let database = &state.database;
            own.is_executed = true;
            own.row = database.newest;
            (own.epoch, own.head) = (database.epoch, database.length);
            own.nonce = database.length.checked_sub(1).map_or(0, |last| database.log[usize::from(last)].nonce);
            if own.row.round == 0 || (own.must == 0 && own.row.completed == 0) {
                *own = Poll::default();
            }
            next.push(self.judged(Step::Execute(index), after));
        } else if !poll.has_arrived {
            arrive(&mut after.reader, index);
            next.push(self.judged(Step::Arrive(index), after));
        } else if let Some(after) = self.certify(state, index) {
            next.push(self.judged(Step::Certify(index), after));
        }
    }

    fn certify(&self, state: &State, index: u8) -> Option<State> {
        let reader = &state.reader;
        let poll = reader.polls[usize::from(index)];
        let mut after = *state;
        after.reader.polls[usize::from(index)] = Poll::default();
        if poll.epoch != reader.epoch && !self.is(EpochMutant::HeadOfAnotherEpoch) {
            return Some(after);
        }
        if reader.applied < poll.head {
            return None;
        }
        // At the head itself it is seen whether the log still has the entry that the poll saw.
        let same = reader.applied > poll.head || reader.nonce == poll.nonce || reader.applied == reader.floor;
        if same || self.is(EpochMutant::HeadNotCompared) {
            let below = &reader.polled[..usize::from(poll.row.completed)];
            after.reader.certified = reader.certified.max(below.iter().copied().max().unwrap_or_default());
        }
        Some(after)
    }

    /// One reading of the log, which adopts an epoch, begins one, or applies an entry.
    pub(super) fn catch_up(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let database = &state.database;
        let mut after = *state;
        let reader = &mut after.reader;
        let nonce_of = |position: u8| position.checked_sub(1).map_or(0, |at| database.log[usize::from(at)].nonce);
        if reader.epoch != database.epoch {
            adopt(&mut after);
        } else if database.length < reader.applied
            || (reader.applied > reader.floor && nonce_of(reader.applied) != reader.nonce)
        {
            after.begin_epoch();
            adopt(&mut after);
        } else if reader.applied < database.length {
            let entry = database.log[usize::from(reader.applied)];
            reader.applied += 1;
            reader.nonce = entry.nonce;
            if entry.changes > 0 {
                reader.last = reader.applied;
            }
        } else {
            return;
        }
        next.push(self.judged(Step::CatchUp, after));
    }

    pub(super) fn load(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let Reader { epoch, applied, load, .. } = state.reader;
        let mut after = *state;
        if load.epoch == 0 {
            after.reader.load = Copied { epoch, position: applied, knows: 0 };
            next.push(self.judged(Step::Load, after));
        } else {
            after.reader.document = Copied { knows: state.committed, ..load };
            after.reader.load = Copied::default();
            next.push(self.judged(Step::ReadSources, after));
        }
    }
}

/// The polls are kept: what they say holds in every later epoch.
fn adopt(state: &mut State) {
    let database = &state.database;
    let reader = &mut state.reader;
    (reader.epoch, reader.floor, reader.applied) = (database.epoch, database.floor, database.floor);
    (reader.nonce, reader.last) = (0, 0);
}

fn arrive(reader: &mut Reader, index: u8) {
    let mut poll = reader.polls[usize::from(index)];
    if poll.row.birth != reader.birth {
        reader.birth = poll.row.birth;
        reader.polled = Default::default();
        reader.polls.iter_mut().filter(|one| one.has_arrived).for_each(|one| *one = Poll::default());
    }
    let polled = &mut reader.polled[usize::from(poll.row.round)];
    *polled = (*polled).max(poll.must);
    poll.has_arrived = true;
    poll.must = 0;
    poll.row.round = 0;
    reader.polls[usize::from(index)] = if poll.row.completed == 0 { Poll::default() } else { poll };
}
