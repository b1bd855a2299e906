//! Whether Redis takes documents, apart from whether it answers.
//!
//! A Redis that refuses writes still answers reads, so a refused write does not open the tier's circuit. One for lack of
//! rights opens a circuit of writes: rights are the same at every node and for every document, and reads never find
//! anything. After any other refusal the next document is tried; the log names one a minute.

use std::time::Duration;

use fred::error::{Error, ErrorKind};

use crate::{
    cache::tiers::{error::TierError, guard::FAILURES_MAX},
    circuit_breaker::{CircuitBreaker, Pass, Probing},
    clock::{Clock, Moment},
    sync::Mutex,
};

/// Rights are granted by people.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two lines about refused writes.
const TOLD_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Writes {
    breaker: CircuitBreaker,
    told_at: Mutex<Option<Moment>>,
    clock: Clock,
}

/// A write under way. Dropped without [`Self::end`], it says nothing.
#[derive(Debug)]
pub(super) struct Write<'a> {
    writes: &'a Writes,
    pass: Pass,
}

impl Writes {
    pub(super) fn new(clock: Clock) -> Self {
        let breaker = CircuitBreaker::new("redis_writes", Probing::NextCall, FAILURES_MAX, PAUSE, clock.clone());
        Self { breaker, told_at: Mutex::new(None), clock }
    }

    /// None: writes are refused for lack of rights, and the next try is not due.
    pub(super) fn begin(&self) -> Option<Write<'_>> {
        Some(Write { writes: self, pass: self.breaker.pass()? })
    }

    pub(super) fn state(&self) -> &'static str {
        self.breaker.state()
    }

    fn refused(&self, error: &TierError) {
        if matches!(error, TierError::Redis(error) if lacks_rights(error)) {
            self.breaker.failed(&error.line());
        }
        let now = self.clock.now();
        let mut told_at = self.told_at.lock();
        if told_at.is_none_or(|told_at| now.since(told_at) >= TOLD_EVERY) {
            *told_at = Some(now);
            tracing::warn!(error = error.line(), "redis refuses a document; it stays in memory and in the table");
        }
    }
}

impl Write<'_> {
    pub(super) fn end<T>(self, written: &Result<T, TierError>) {
        match written {
            Ok(_) => self.writes.breaker.succeeded(),
            Err(error @ TierError::Redis(cause)) if is_refusal(cause) => self.writes.refused(error),
            Err(_) => {}
        }
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.pass == Pass::Probe {
            // Has an effect only if the write was neither taken nor refused for lack of rights.
            self.writes.breaker.probe_lost();
        }
    }
}

/// An answer of Redis, as opposed to a connection that is lost.
fn is_refusal(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Canceled | ErrorKind::Backpressure)
}

/// Of the command, or of a command within a script.
fn lacks_rights(error: &Error) -> bool {
    error.details().starts_with("NOPERM") || error.details().contains("user executing the script")
}
