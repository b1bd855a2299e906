//! When a tier is left alone, and when it is tried again.
//!
//! Failures in a row open it. While it is open no request is let through, so that a tier that hangs
//! costs nobody anything: a probe in the background closes it again. (The usual breaker lets every
//! n-th request find out, which then waits for the timeout.)

use std::{fmt::Display, time::Duration};

use super::tiers::error::TierError;
use crate::{
    clock::{Clock, Moment},
    sync::{Mutex, MutexGuard},
};

/// Says whether something may be asked.
#[derive(Debug)]
pub struct Breaker {
    dependency: &'static str,
    failures: u32,
    pause: Duration,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In use, after so many failures in a row.
    Closed { failures: u32 },
    /// Left alone since then.
    Open { since: Moment },
    /// A probe is on its way since then.
    HalfOpen { since: Moment },
}

impl Breaker {
    /// Opens after `failures` in a row; wants a probe every `pause` from then on.
    #[must_use]
    pub fn new(dependency: &'static str, failures: u32, pause: Duration, clock: Clock) -> Self {
        Self { dependency, failures, pause, clock, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Whether requests may ask the dependency.
    #[must_use]
    pub fn allows(&self) -> bool {
        matches!(*self.lock(), State::Closed { .. })
    }

    /// Whether it is time to probe. True once per pause: the caller probes, and says how it went.
    /// A probe that never says so is forgotten after another pause.
    #[must_use]
    pub fn wants_probe(&self) -> bool {
        let mut state = self.lock();
        let (State::Open { since } | State::HalfOpen { since }) = *state else { return false };
        let now = self.clock.now();
        let due = now.since(since) >= self.pause;
        if due {
            *state = State::HalfOpen { since: now };
        }
        due
    }

    /// The dependency answered.
    pub fn succeeded(&self) {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => *state = State::Closed { failures: 0 },
            // A request from before the opening that made it after all: the probe decides.
            State::Open { .. } => {}
            State::HalfOpen { .. } => {
                *state = State::Closed { failures: 0 };
                tracing::info!(dependency = self.dependency, "in use again");
            }
        }
    }

    /// The dependency failed.
    pub fn failed(&self, why: &dyn Display) {
        let now = self.clock.now();
        let mut state = self.lock();
        match *state {
            State::Closed { failures } if failures + 1 < self.failures => {
                *state = State::Closed { failures: failures + 1 };
            }
            State::Closed { .. } => {
                *state = State::Open { since: now };
                tracing::warn!(dependency = self.dependency, error = %why, "left alone after failures");
            }
            State::Open { .. } => {}
            State::HalfOpen { .. } => *state = State::Open { since: now },
        }
    }

    /// What an answer says about the dependency: one that cannot be read was an answer all the same.
    pub fn learn<T>(&self, answer: &Result<T, TierError>) {
        match answer {
            Ok(_) | Err(TierError::Garbage(_)) => self.succeeded(),
            Err(error) => self.failed(&error.line()),
        }
    }

    /// `closed`, `open` or `half_open`, as statistics name it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match *self.lock() {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half_open",
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn open_breaker(clock: &Clock) -> Breaker {
        let breaker = Breaker::new("test", 3, PAUSE, clock.clone());
        (0..3).for_each(|_| breaker.failed(&"down"));
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = Breaker::new("test", 3, PAUSE, Clock::system());
        for _ in 0..5 {
            breaker.failed(&"down");
            breaker.failed(&"down");
            breaker.succeeded();
        }
        assert!(breaker.allows());
        (0..3).for_each(|_| breaker.failed(&"down"));
        assert!(!breaker.allows());
        assert_eq!(breaker.state(), "open");
    }

    #[test]
    fn only_a_probe_closes_it() {
        let clock = Clock::system();
        let breaker = open_breaker(&clock);
        breaker.succeeded();
        assert!(!breaker.allows(), "a late answer is no probe");
        assert!(!breaker.wants_probe(), "not before the pause is over");
        clock.advance(PAUSE);
        assert!(breaker.wants_probe());
        assert!(!breaker.wants_probe(), "one probe at a time");
        assert_eq!(breaker.state(), "half_open");
        assert!(!breaker.allows(), "no request while it is probed");
        breaker.failed(&"still down");
        assert_eq!(breaker.state(), "open");
        clock.advance(PAUSE);
        assert!(breaker.wants_probe());
        breaker.succeeded();
        assert!(breaker.allows());
        assert!(!breaker.wants_probe());
    }

    #[test]
    fn a_lost_probe_is_repeated() {
        let clock = Clock::system();
        let breaker = open_breaker(&clock);
        clock.advance(PAUSE);
        assert!(breaker.wants_probe());
        clock.advance(PAUSE);
        assert!(breaker.wants_probe());
    }
}
