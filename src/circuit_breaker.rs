//! A circuit breaker: after some failures in a row, calls skip a dependency until a probe succeeds.
//!
//! One state machine for tiers and sources. They differ in [`Probing`] alone: a tier is probed in the background, so
//! that a tier that hangs costs no request anything; a source is probed by the next call after the pause, because only
//! a real read says whether it works.

use std::{fmt::Display, time::Duration};

use crate::{
    clock::{Clock, Moment},
    sync::Mutex,
};

/// Decides whether a dependency may be called.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    dependency: &'static str,
    probing: Probing,
    failures_max: u32,
    pause: Duration,
    clock: Clock,
    state: Mutex<CircuitState>,
}

/// Which call decides whether an open circuit closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probing {
    /// A background task asks [`CircuitBreaker::start_probe`]. Other calls are refused until that probe succeeds, and
    /// a late answer to a call from before the opening does not count. A probe that never reports is repeated after
    /// another pause.
    InBackground,
    /// The next call after the pause. It must report, or call [`CircuitBreaker::probe_lost`]. Any success closes the
    /// circuit.
    NextCall,
}

#[derive(Clone, Copy, Debug)]
enum CircuitState {
    /// Calls go through; the last `failures` of them failed.
    Closed { failures: u32 },
    /// No call goes through; a probe is due at `probe_at`.
    Open { probe_at: Moment },
    /// A probe runs.
    HalfOpen { since: Moment },
}

/// How a call goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Ordinary,
    /// This call decides whether the circuit closes.
    Probe,
}

impl CircuitBreaker {
    /// Opens after `failures_max` failures in a row; the first probe is due `pause` later.
    pub(crate) fn new(
        dependency: &'static str,
        probing: Probing,
        failures_max: u32,
        pause: Duration,
        clock: Clock,
    ) -> Self {
        let state = Mutex::new(CircuitState::Closed { failures: 0 });
        Self { dependency, probing, failures_max, pause, clock, state }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.state.lock(), CircuitState::Closed { .. })
    }

    /// Whether a call may go through now. None: the circuit is open.
    pub(crate) fn pass(&self) -> Option<Pass> {
        let mut state = self.state.lock();
        let now = self.clock.now();
        match *state {
            CircuitState::Closed { .. } => Some(Pass::Ordinary),
            CircuitState::Open { probe_at } if self.probing == Probing::NextCall && probe_at <= now => {
                *state = CircuitState::HalfOpen { since: now };
                Some(Pass::Probe)
            }
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => None,
        }
    }

    /// Whether the background task has to probe now, and then report. True once per pause.
    pub(crate) fn start_probe(&self) -> bool {
        let mut state = self.state.lock();
        let now = self.clock.now();
        let is_due = match *state {
            CircuitState::Closed { .. } => false,
            CircuitState::Open { probe_at } => probe_at <= now,
            CircuitState::HalfOpen { since } => since.after(self.pause) <= now,
        };
        if is_due {
            *state = CircuitState::HalfOpen { since: now };
        }
        is_due
    }

    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock();
        let is_late = matches!(*state, CircuitState::Open { .. }) && self.probing == Probing::InBackground;
        if is_late {
            return;
        }
        if !matches!(*state, CircuitState::Closed { .. }) {
            tracing::info!(dependency = self.dependency, "{} circuit closed; calls use it again", self.dependency);
        }
        *state = CircuitState::Closed { failures: 0 };
    }

    pub(crate) fn failed(&self, error: &dyn Display) {
        let mut state = self.state.lock();
        let open = CircuitState::Open { probe_at: self.clock.now().after(self.pause) };
        match *state {
            CircuitState::Closed { failures } if failures + 1 < self.failures_max => {
                *state = CircuitState::Closed { failures: failures + 1 };
            }
            CircuitState::Closed { failures } => {
                *state = open;
                let (dependency, failures) = (self.dependency, failures + 1);
                tracing::warn!(
                    dependency,
                    %error,
                    "{dependency} circuit open after {failures} failures; calls skip it until a probe succeeds"
                );
            }
            // A late failure of a call from before the opening does not postpone the probe.
            CircuitState::Open { .. } => {}
            CircuitState::HalfOpen { .. } => *state = open,
        }
    }

    /// The probe was dropped before it succeeded or failed: the next call is the probe.
    pub(crate) fn probe_lost(&self) {
        let mut state = self.state.lock();
        if matches!(*state, CircuitState::HalfOpen { .. }) {
            *state = CircuitState::Open { probe_at: self.clock.now() };
        }
    }

    /// `closed`, `open` or `half_open`. If the next call is going to be the probe, the circuit counts as half open.
    pub(crate) fn state(&self) -> &'static str {
        match *self.state.lock() {
            CircuitState::Closed { .. } => "closed",
            CircuitState::Open { probe_at } if self.probing == Probing::InBackground || self.clock.now() < probe_at => {
                "open"
            }
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => "half_open",
        }
    }
}

#[cfg(test)]
mod tests;
