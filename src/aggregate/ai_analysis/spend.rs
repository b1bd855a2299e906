//! The limit of calls per minute, and the counts of calls and tokens.

use std::{collections::VecDeque, time::Duration};

use super::reply::Usage;
use crate::{
    clock::{Clock, Moment},
    sync::Mutex,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Calls and tokens since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AiMetrics {
    /// Calls to the endpoint, including second tries.
    pub calls: u64,
    /// Calls that have ended with an answer.
    pub answered: u64,
    /// Calls that have ended with a response that cannot be used.
    pub unusable: u64,
    /// Calls that have ended without a response.
    pub failed: u64,
    /// Calls that a cached response saved.
    pub avoided: u64,
    /// Calls that are not made because the last response to the same input could not be used.
    pub paused: u64,
    /// Inputs that joined a call under way in this process.
    pub shared: u64,
    /// Tokens sent, as reported.
    pub prompt_tokens: u64,
    /// Tokens received, as reported.
    pub completion_tokens: u64,
}

#[derive(Debug)]
pub(super) struct Spend {
    clock: Clock,
    calls_per_minute: usize,
    state: Mutex<SpendState>,
}

#[derive(Debug, Default)]
struct SpendState {
    /// When the calls of the last minute began; never more than `calls_per_minute`.
    recent: VecDeque<Moment>,
    metrics: AiMetrics,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum CallEnd {
    Answered,
    Unusable,
    Failed,
}

/// A call under way. Dropped without [`Self::end`], it counts as failed.
#[derive(Debug)]
pub(super) struct CountedCall<'a> {
    spend: &'a Spend,
    end: CallEnd,
}

impl CountedCall<'_> {
    pub(super) fn end(mut self, end: CallEnd) {
        self.end = end;
    }
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        let metrics = &mut self.spend.state.lock().metrics;
        match self.end {
            CallEnd::Answered => metrics.answered += 1,
            CallEnd::Unusable => metrics.unusable += 1,
            CallEnd::Failed => metrics.failed += 1,
        }
    }
}

impl Spend {
    pub(super) fn new(clock: Clock, calls_per_minute: u32) -> Self {
        let calls_per_minute = usize::try_from(calls_per_minute).unwrap_or(usize::MAX);
        Self { clock, calls_per_minute, state: Mutex::default() }
    }

    /// Counts a call that is about to begin; none if the limit is reached.
    pub(super) fn begin_call(&self) -> Option<CountedCall<'_>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        while state.recent.front().is_some_and(|begun| now.since(*begun) >= MINUTE) {
            state.recent.pop_front();
        }
        if state.recent.len() >= self.calls_per_minute {
            return None;
        }
        state.recent.push_back(now);
        state.metrics.calls += 1;
        Some(CountedCall { spend: self, end: CallEnd::Failed })
    }

    pub(super) fn avoid_call(&self) {
        self.state.lock().metrics.avoided += 1;
    }

    pub(super) fn pause_call(&self) {
        self.state.lock().metrics.paused += 1;
    }

    pub(super) fn share_call(&self) {
        self.state.lock().metrics.shared += 1;
    }

    /// Counts the tokens of a reply, even if its answer is refused.
    pub(super) fn count_tokens(&self, usage: Usage) {
        let tokens = |count: Option<i32>| count.and_then(|count| count.try_into().ok()).unwrap_or(0);
        let mut state = self.state.lock();
        state.metrics.prompt_tokens += tokens(usage.prompt_tokens);
        state.metrics.completion_tokens += tokens(usage.completion_tokens);
    }

    pub(super) fn metrics(&self) -> AiMetrics {
        self.state.lock().metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_calls_than_allowed() {
        let clock = Clock::system();
        let spend = Spend::new(clock.clone(), 2);
        let first = spend.begin_call().unwrap();
        clock.advance(Duration::from_secs(40));
        assert!(spend.begin_call().is_some());
        assert!(spend.begin_call().is_none());
        clock.advance(Duration::from_secs(20));
        assert!(spend.begin_call().is_some());
        assert!(spend.begin_call().is_none());
        first.end(CallEnd::Answered);
        let figures = spend.metrics();
        assert_eq!((figures.calls, figures.answered, figures.failed), (3, 1, 2));
    }
}
