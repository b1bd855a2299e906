//! A reader: several polls in flight, rows of the log page by page, and what it certifies.

use super::{Poll, PollStage, Request, RoundMutant, Rounds, State, Step, step};
use crate::explore::Next;

impl Rounds {
    pub(super) fn poll(&self, state: &State, index: u8, next: &mut Vec<Next<Self>>) {
        let poll = state.reader.polls[usize::from(index)];
        let mut after = *state;
        let own = &mut after.reader.polls[usize::from(index)];
        match poll.stage {
            PollStage::Idle => {
                let first = state.reader.polls.iter().position(|other| other.stage == PollStage::Idle);
                if first != Some(usize::from(index)) {
                    return;
                }
                let after_request = state.request != Request::Idle;
                *own = Poll { stage: PollStage::Sent, must: state.committed, after_request, ..Poll::default() };
                next.push(step(Step::SendPoll(index), after));
            }
            PollStage::Sent => {
                let two = self.two_statements || self.is(RoundMutant::LogBeforeRound);
                own.stage = if two { PollStage::Half } else { PollStage::Executed };
                if !self.is(RoundMutant::LogBeforeRound) {
                    own.row = state.newest;
                }
                if !two || self.is(RoundMutant::LogBeforeRound) {
                    own.head = state.length;
                }
                self.is_of_use(own);
                next.push(step(Step::Execute(index), after));
            }
            PollStage::Half => {
                own.stage = PollStage::Executed;
                if self.is(RoundMutant::LogBeforeRound) {
                    own.row = state.newest;
                } else {
                    own.head = state.length;
                }
                self.is_of_use(own);
                next.push(step(Step::ExecuteMore(index), after));
            }
            PollStage::Executed => {
                self.arrive(&mut after, index);
                next.push(step(Step::Arrive(index), after));
            }
            PollStage::Arrived => self.certify(state, index, next),
        }
    }

    /// Forgets what certifies nothing: a poll that found no round, or one that is too high to be below a completed one.
    fn is_of_use(&self, poll: &mut Poll) {
        let kept = matches!(
            self.mutant,
            Some(
                RoundMutant::CountsThePollItself
                    | RoundMutant::CountsTheCompletedRound
                    | RoundMutant::CountsFromTheAnswer
            )
        );
        poll.row.holder = 0;
        if poll.row.round + 1 >= self.rounds && !kept {
            poll.must = 0;
            poll.after_request = false;
        }
        let says_nothing = poll.must == 0 && poll.row.completed == 0 && !poll.after_request && !kept;
        if poll.stage == PollStage::Executed && (poll.row.round == 0 || says_nothing) {
            *poll = Poll::default();
        }
    }

    fn arrive(&self, state: &mut State, index: u8) {
        let committed = state.committed;
        let reader = &mut state.reader;
        let mut poll = reader.polls[usize::from(index)];
        if poll.row.birth != reader.birth {
            reader.birth = poll.row.birth;
            if !self.is(RoundMutant::KeepsPollsOfAnotherBirth) {
                reader.polled = Default::default();
                reader.after_request = 0;
                reader
                    .polls
                    .iter_mut()
                    .filter(|other| other.stage == PollStage::Arrived)
                    .for_each(|one| *one = Poll::default());
            }
        }
        if self.is(RoundMutant::CountsFromTheAnswer) {
            poll.must = committed;
        }
        let round = usize::from(poll.row.round);
        reader.polled[round] = reader.polled[round].max(poll.must);
        reader.after_request |= u8::from(poll.after_request) << round;
        // What a lower round says as well says nothing more.
        let mut said = 0;
        for one in &mut reader.polled {
            if *one <= said {
                *one = 0;
            }
            said = said.max(*one);
        }
        poll.stage = PollStage::Arrived;
        if !self.is(RoundMutant::CountsThePollItself) {
            poll.must = 0;
        }
        (poll.row.round, poll.row.holder) = (0, 0);
        poll.after_request = false;
        reader.polls[usize::from(index)] = if poll.row.completed == 0 { Poll::default() } else { poll };
    }

    pub(super) fn apply(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let reader = &state.reader;
        let arrived = reader.polls.iter().filter(|poll| poll.stage == PollStage::Arrived).map(|poll| poll.head).max();
        let asked = if state.request == Request::WaitsForRows { state.request_knows } else { 0 };
        if reader.applied < arrived.unwrap_or_default().max(asked) {
            let mut after = *state;
            after.reader.applied += 1;
            next.push(step(Step::Apply, after));
        }
    }

    fn certify(&self, state: &State, index: u8, next: &mut Vec<Next<Self>>) {
        let reader = &state.reader;
        let poll = &reader.polls[usize::from(index)];
        if reader.applied < poll.head && !self.is(RoundMutant::CertifiesBeforeTheRows) {
            return;
        }
        let mut below = usize::from(poll.row.completed);
        if self.is(RoundMutant::CountsTheCompletedRound) {
            below += 1;
        }
        let certified = reader.polled[..below].iter().copied().max().unwrap_or_default().max(poll.must);
        let known = state.known();
        let mut broken = (certified > known)
            .then(|| format!("a poll sent after {certified} changes were committed is certified, {known} are applied"));
        let mut after = *state;
        after.reader.polls[usize::from(index)] = Poll::default();
        if state.request == Request::WaitsForARound {
            let began_after = reader.after_request & ((1 << below) - 1) != 0;
            if began_after || self.is(RoundMutant::AnyRoundWillDo) {
                broken = broken.or(self.answer(&mut after));
            }
        }
        next.push(Next { step: Step::Certify(index), state: after, broken });
    }
}

impl State {
    /// The changes that the reader has applied.
    pub(super) fn known(&self) -> u8 {
        match self.reader.applied {
            0 => 0,
            applied => self.log[usize::from(applied) - 1],
        }
    }
}
