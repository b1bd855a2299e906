//! A LINEARIZABLE request: looks into the outbox, then into the log, then judges.

use super::{Request, RoundMutant, Rounds, State, Step, step};
use crate::explore::Next;

impl Rounds {
    pub(super) fn request(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let mut after = *state;
        let what = match state.request {
            Request::Idle => {
                after.request_must = state.committed;
                after.request = Request::Arrived;
                "arrives"
            }
            Request::Arrived if self.is(RoundMutant::NoLookIntoTheOutbox) => {
                after.request = Request::Consumed;
                "looks into the log only"
            }
            Request::Arrived if self.is(RoundMutant::LogBeforeOutbox) => {
                after.request_knows = state.length;
                after.request = Request::HeadKnown;
                "reads the log's head"
            }
            Request::HeadKnown => {
                let consumed = state.committed <= state.stored;
                after.request = if consumed { Request::WaitsForRows } else { Request::WaitsForARound };
                "looks into the outbox"
            }
            Request::Arrived => {
                after.request_knows = state.stored;
                after.request = Request::Looking;
                "reads what is consumed"
            }
            Request::Looking => {
                let consumed = state.committed <= state.request_knows;
                after.request_knows = 0;
                after.request = if consumed { Request::Consumed } else { Request::WaitsForARound };
                "looks into the outbox"
            }
            Request::Consumed => {
                after.request_knows = state.length;
                after.request = Request::WaitsForRows;
                "reads the log's head"
            }
            Request::WaitsForRows if state.reader.applied >= state.request_knows => {
                let broken = self.answer(&mut after);
                next.push(Next { step: Step::Request("is answered"), state: after, broken });
                return;
            }
            Request::WaitsForARound | Request::WaitsForRows | Request::Answered => return,
        };
        next.push(step(Step::Request(what), after));
    }

    /// Answers the request. Returns the promise that this breaks.
    pub(super) fn answer(&self, state: &mut State) -> Option<String> {
        let (must, known) = (state.request_must, state.known());
        state.request = Request::Answered;
        (state.request_must, state.request_knows) = (0, 0);
        (must > known)
            .then(|| format!("LINEARIZABLE: {must} changes were committed before the request, {known} are applied"))
    }
}
