//! What the model may cost and has cost: the limit of calls per minute, and the counts.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::reply::Usage;
use crate::{
    clock::{Clock, Moment},
    sync::Mutex,
};

const MINUTE: Duration = Duration::from_secs(60);

/// What the model has cost and saved since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AiMetrics {
    /// ModelCalls made to the endpoint, repeated ones included.
    pub calls: u64,
    /// Those that have ended with an answer that can be read.
    pub answered: u64,
    /// Those that have ended without one.
    pub failed: u64,
    /// ModelCalls that were not needed, because the answer was remembered.
    pub avoided: u64,
    /// Questions that joined one under way in this process.
    pub shared: u64,
    /// Tokens sent, as far as reported.
    pub prompt_tokens: u64,
    /// Tokens received, as far as reported.
    pub completion_tokens: u64,
}

/// The limit and the counts of one process.
#[derive(Debug)]
pub(super) struct Spend {
    clock: Clock,
    calls_per_minute: usize,
    /// When the calls of the last minute began; never more than `calls_per_minute`.
    recent: Mutex<VecDeque<Moment>>,
    calls: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    avoided: AtomicU64,
    shared: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

/// A call under way: failed, unless it is said to have been answered.
#[derive(Debug)]
pub(super) struct CountedCall<'a>(&'a AtomicU64);

impl<'a> CountedCall<'a> {
    /// Counts its end.
    pub(super) fn end<T, E>(mut self, spend: &'a Spend, result: &Result<T, E>) {
        if result.is_ok() {
            self.0 = &spend.answered;
        }
    }
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Spend {
    pub(super) fn new(clock: Clock, calls_per_minute: u32) -> Self {
        Self {
            clock,
            calls_per_minute: usize::try_from(calls_per_minute).unwrap_or(usize::MAX),
            recent: Mutex::default(),
            calls: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            avoided: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
        }
    }

    /// Counts a call that is about to begin; none if the last minute leaves none.
    pub(super) fn begin_call(&self) -> Option<CountedCall<'_>> {
        let now = self.clock.now();
        // A panic elsewhere cannot leave the moments half changed.
        let mut recent = self.recent.lock();
        while recent.front().is_some_and(|begun| now.since(*begun) >= MINUTE) {
            recent.pop_front();
        }
        if recent.len() >= self.calls_per_minute {
            return None;
        }
        recent.push_back(now);
        self.calls.fetch_add(1, Ordering::Relaxed);
        Some(CountedCall(&self.failed))
    }

    /// Counts a call that was not needed.
    pub(super) fn avoid_call(&self) {
        self.avoided.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a question that waits for another one's answer.
    pub(super) fn share_call(&self) {
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what a reply has cost, be its answer of use or not.
    pub(super) fn count_tokens(&self, usage: Usage) {
        let count = |counter: &AtomicU64, tokens: Option<i32>| {
            counter.fetch_add(tokens.and_then(|tokens| tokens.try_into().ok()).unwrap_or(0), Ordering::Relaxed);
        };
        count(&self.prompt_tokens, usage.prompt_tokens);
        count(&self.completion_tokens, usage.completion_tokens);
    }

    pub(super) fn metrics(&self) -> AiMetrics {
        AiMetrics {
            calls: self.calls.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            avoided: self.avoided.load(Ordering::Relaxed),
            shared: self.shared.load(Ordering::Relaxed),
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
        }
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
        first.end(&spend, &Ok::<_, ()>(()));
        let figures = spend.metrics();
        assert_eq!((figures.calls, figures.answered, figures.failed), (3, 1, 2));
    }
}
