//! When a source is left alone, and how it is tried again: after so many failures in a row it gets
//! a pause, then one run goes through and decides.

use std::time::Duration;

use crate::clock::Moment;

/// A source's breaker. It asks no clock; its owner tells it the time.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Runs go through; this many have failed in a row.
    Closed { failures: u32 },
    /// Nothing goes through before this moment.
    Open { until: Moment },
    /// One run has gone through; nothing else does before it ends.
    HalfOpen,
}

/// How a run may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// As usual.
    Ordinary,
    /// As the one that decides. Losing it without a verdict has to be told.
    Probe,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: State::Closed { failures: 0 } }
    }

    /// Whether a run may go through now.
    pub(super) fn pass(&mut self, now: Moment) -> Option<Pass> {
        match self.state {
            State::Closed { .. } => Some(Pass::Ordinary),
            State::Open { until } if until <= now => {
                self.state = State::HalfOpen;
                Some(Pass::Probe)
            }
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    /// The source answered.
    pub(super) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The source failed.
    pub(super) fn failed(&mut self, now: Moment) {
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.failures_max => State::Closed { failures: failures + 1 },
            State::Closed { .. } | State::HalfOpen => State::Open { until: now.after(self.pause) },
            // A run that began before it opened: known already, so the pause does not grow.
            open @ State::Open { .. } => open,
        };
    }

    /// The probe ended without telling anything: the next run is the probe.
    pub(super) fn probe_lost(&mut self, now: Moment) {
        if matches!(self.state, State::HalfOpen) {
            self.state = State::Open { until: now };
        }
    }

    /// As statistics name it. A pause that is over counts as half-open: the next run goes through.
    pub(super) fn name(&self, now: Moment) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { until } if until > now => "open",
            State::Open { .. } | State::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const PAUSE: Duration = Duration::from_secs(2);

    fn opened(clock: &Clock) -> Breaker {
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..3 {
            breaker.failed(clock.now());
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let clock = Clock::system();
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..5 {
            breaker.failed(clock.now());
            breaker.failed(clock.now());
            breaker.succeeded();
        }
        assert_eq!(breaker.pass(clock.now()), Some(Pass::Ordinary));
        assert_eq!(opened(&clock).pass(clock.now()), None);
    }

    #[test]
    fn after_the_pause_one_run_goes_through_and_decides() {
        let clock = Clock::system();
        let mut breaker = opened(&clock);
        clock.advance(PAUSE);
        assert_eq!(breaker.name(clock.now()), "half_open");
        assert_eq!((breaker.pass(clock.now()), breaker.pass(clock.now())), (Some(Pass::Probe), None));
        breaker.failed(clock.now());
        assert_eq!((breaker.name(clock.now()), breaker.pass(clock.now())), ("open", None));
        clock.advance(PAUSE);
        assert_eq!(breaker.pass(clock.now()), Some(Pass::Probe));
        breaker.succeeded();
        assert_eq!((breaker.name(clock.now()), breaker.pass(clock.now())), ("closed", Some(Pass::Ordinary)));
    }

    #[test]
    fn a_lost_probe_makes_room_for_the_next() {
        let clock = Clock::system();
        let mut breaker = opened(&clock);
        clock.advance(PAUSE);
        assert_eq!(breaker.pass(clock.now()), Some(Pass::Probe));
        breaker.probe_lost(clock.now());
        assert_eq!(breaker.pass(clock.now()), Some(Pass::Probe));
    }

    #[test]
    fn late_failures_do_not_prolong_the_pause() {
        let clock = Clock::system();
        let mut breaker = opened(&clock);
        clock.advance(PAUSE / 2);
        breaker.failed(clock.now());
        clock.advance(PAUSE / 2);
        assert_eq!(breaker.pass(clock.now()), Some(Pass::Probe));
    }
}
