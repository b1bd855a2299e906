//! The guard of a remote tier: its circuit breaker and its metrics.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;

use super::{error::TierError, tier_metrics::TierMetrics};
use crate::{
    circuit_breaker::{CircuitBreaker, Probing},
    clock::Clock,
    model::Tier,
    proto::v1::TierStats,
    telemetry::Meter,
};

/// Few, because each may cost a request the whole timeout.
pub(super) const FAILURES_MAX: u32 = 3;
/// Between probes: a recovery is noticed well within 3 s.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(in crate::cache) struct TierGuard {
    tier: Tier,
    pub(in crate::cache) breaker: CircuitBreaker,
    pub(in crate::cache) metrics: TierMetrics,
    clock: Clock,
}

impl TierGuard {
    pub(super) fn new(tier: Tier, clock: Clock) -> Self {
        let breaker = CircuitBreaker::new(tier.name(), Probing::InBackground, FAILURES_MAX, PAUSE, clock.clone());
        Self { tier, breaker, metrics: TierMetrics::new(tier, &Meter::none()), clock }
    }

    /// Records each lookup with `meter`.
    pub(super) fn with_metrics(self, meter: &Meter) -> Self {
        Self { metrics: TierMetrics::new(self.tier, meter), ..self }
    }

    /// Fails while the circuit is open.
    pub(super) fn admit(&self) -> Result<(), TierError> {
        if self.breaker.is_closed() { Ok(()) } else { Err(TierError::Open) }
    }

    /// Measures a lookup, or skips it while the circuit is open. A panic costs the record that it met.
    pub(super) async fn lookup<T>(
        &self,
        lookup: impl Future<Output = Result<Option<T>, TierError>>,
    ) -> Result<Option<T>, TierError> {
        self.admit()?;
        let began = self.clock.now();
        let found = AssertUnwindSafe(lookup).catch_unwind().await;
        let found =
            found.unwrap_or_else(|_panic| Err(TierError::Garbage("a record that a reader panics at".to_owned())));
        self.metrics.looked_up(&found, self.clock.now().since(began));
        found
    }

    /// Moves the circuit breaker. Unreadable content counts as an answer.
    pub(super) fn report<T>(&self, answer: &Result<T, TierError>) {
        match answer {
            Ok(_) | Err(TierError::Garbage(_)) => self.breaker.succeeded(),
            Err(error) => self.breaker.failed(&error.line()),
        }
    }

    pub(in crate::cache) fn stats(&self) -> TierStats {
        TierStats { breaker_state: self.breaker.state().to_owned(), ..self.metrics.stats(self.tier) }
    }
}
