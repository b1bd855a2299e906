//! What happened to requests, per method.
//!
//! Invariant: every request that reached the server is counted exactly once, when its reply's last
//! byte was handed over *or* when it was dropped half way. A [`Call`] is begun outside of everything
//! else and records itself on drop, so no way out can forget it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tonic::Code;

use super::method::Method;
use crate::clock::{Clock, Moment};

/// Upper bounds of the duration buckets in seconds: those of the semantic conventions for RPCs.
pub const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// gRPC's codes, 0 to 16.
const CODES: usize = 17;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole reply was handed over, an error's too.
    Answered,
    /// It was refused before any work: overload or shutdown.
    Shed,
    /// Its caller is not known, or not entitled.
    Denied,
    /// Its deadline passed.
    Expired,
    /// The caller left, or the server went away, before the reply was complete.
    Abandoned,
}

/// The server's figures since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    methods: [MethodMetrics; Method::ALL.len()],
    clock: Clock,
}

/// One method's figures.
#[derive(Debug, Default)]
pub struct MethodMetrics {
    in_flight: AtomicI64,
    outcomes: [AtomicU64; 5],
    codes: [AtomicU64; CODES],
    /// One per bound, and one for what is above the last.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// One method's figures.
    #[must_use]
    pub fn method(&self, method: Method) -> &MethodMetrics {
        &self.methods[method.index()]
    }

    /// Starts a request's clock.
    #[must_use]
    pub fn begin(self: &Arc<Self>, method: Method) -> Call {
        self.method(method).in_flight.fetch_add(1, Relaxed);
        Call {
            metrics: Arc::clone(self),
            method,
            began: self.clock.now(),
            outcome: Outcome::Abandoned,
            code: Code::Cancelled,
        }
    }
}

impl MethodMetrics {
    /// Requests being answered now.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Relaxed)
    }

    /// Requests that ended so.
    #[must_use]
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// Requests that ended with this code.
    #[must_use]
    pub fn code(&self, code: Code) -> u64 {
        self.codes[code as usize].load(Relaxed)
    }

    /// Requests per duration: one count per bound of [`BUCKETS`], not cumulative, then those above all.
    #[must_use]
    pub fn durations(&self) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed))
    }

    /// The sum of all durations.
    #[must_use]
    pub fn total_duration(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Relaxed))
    }
}

/// A request on its way: abandoned, unless it is said to have ended otherwise.
#[derive(Debug)]
pub struct Call {
    metrics: Arc<Metrics>,
    method: Method,
    began: Moment,
    outcome: Outcome,
    code: Code,
}

impl Call {
    /// Says how it ends; counted when this is dropped.
    pub fn ends(&mut self, outcome: Outcome, code: Code) {
        self.outcome = outcome;
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.metrics.clock.now().since(self.began);
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        let figures = self.metrics.method(self.method);
        figures.in_flight.fetch_sub(1, Relaxed);
        figures.outcomes[self.outcome as usize].fetch_add(1, Relaxed);
        figures.codes[self.code as usize].fetch_add(1, Relaxed);
        figures.buckets[bucket].fetch_add(1, Relaxed);
        figures.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_flight_until_it_is_dropped_and_then_counted_once() {
        let clock = Clock::system();
        let metrics = Arc::new(Metrics::new(clock.clone()));
        let mut call = metrics.begin(Method::Get);
        let left = metrics.begin(Method::Get);
        assert_eq!(metrics.method(Method::Get).in_flight(), 2);

        clock.advance(Duration::from_secs(3));
        call.ends(Outcome::Answered, Code::NotFound);
        drop(call);
        drop(left);

        let figures = metrics.method(Method::Get);
        assert_eq!(figures.in_flight(), 0);
        assert_eq!((figures.ended(Outcome::Answered), figures.code(Code::NotFound)), (1, 1));
        assert_eq!((figures.ended(Outcome::Abandoned), figures.code(Code::Cancelled)), (1, 1));
        let up_to_five_seconds = BUCKETS.iter().position(|bound| *bound == 5.0).unwrap();
        assert_eq!(figures.durations()[up_to_five_seconds], 2);
        assert!(figures.total_duration() >= Duration::from_secs(6));
        assert_eq!(metrics.method(Method::Stats).durations(), [0; BUCKETS.len() + 1]);
    }
}
