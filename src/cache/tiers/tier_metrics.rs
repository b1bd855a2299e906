//! Metrics of a tier, since the start of this instance. A look-up takes no lock, and counts once: the statistics and
//! the scraped metrics read the same counts.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::error::TierError;
use crate::{
    model::Tier,
    proto::v1::TierStats,
    sync::Mutex,
    telemetry::{DurationHistogram, Meter, Quantiles, names::LOOKUP_DURATION},
};

/// Characters kept of an error.
const ERROR_CHARS_MAX: usize = 200;

#[derive(Debug, Default)]
pub struct TierMetrics {
    errors: AtomicU64,
    garbage: AtomicU64,
    /// Found, but outdated.
    unusable: AtomicU64,
    latency: Quantiles,
    last_error: Mutex<String>,
    /// By [`WriteOutcome`].
    writes: [AtomicU64; 3],
    found: DurationHistogram,
    absent: DurationHistogram,
    broken: DurationHistogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    Done,
    Failed,
    /// Not tried: the tier holds a newer snapshot, or its circuit is open.
    Skipped,
}

impl TierMetrics {
    /// Records each lookup with `meter`.
    #[must_use]
    pub fn new(tier: Tier, meter: &Meter) -> Self {
        let lookups = |outcome| meter.durations(&LOOKUP_DURATION, &[tier.name(), outcome]);
        Self { found: lookups("hit"), absent: lookups("miss"), broken: lookups("error"), ..Self::default() }
    }

    pub fn hit(&self, took: Duration) {
        self.found.record(took);
        self.latency.record(took);
    }

    pub fn miss(&self, took: Duration) {
        self.absent.record(took);
        self.latency.record(took);
    }

    pub fn looked_up<T>(&self, found: &Result<Option<T>, TierError>, took: Duration) {
        match found {
            Ok(Some(_)) => self.hit(took),
            Ok(None) => self.miss(took),
            Err(error) => {
                self.broken.record(took);
                self.latency.record(took);
                self.failed(error);
            }
        }
    }

    /// Turns the last hit into a miss: the snapshot was outdated, expired or of another epoch.
    pub fn refused(&self) {
        self.unusable.fetch_add(1, Relaxed);
    }

    pub fn wrote(&self, how: WriteOutcome) {
        self.writes[how as usize].fetch_add(1, Relaxed);
    }

    #[must_use]
    pub fn written(&self, how: WriteOutcome) -> u64 {
        self.writes[how as usize].load(Relaxed)
    }

    pub fn failed(&self, error: &TierError) {
        match error {
            // The call was skipped; the error that opened the circuit stays visible.
            TierError::Open => return,
            TierError::Garbage(_) => self.garbage.fetch_add(1, Relaxed),
            TierError::Timeout | TierError::Redis(_) | TierError::Database(_) => self.errors.fetch_add(1, Relaxed),
        };
        let line = error.line().chars().take(ERROR_CHARS_MAX).collect();
        *self.last_error.lock() = line;
    }

    /// The statistics of a tier in use. The tier adds its entries, bytes and circuit state.
    #[must_use]
    pub fn stats(&self, tier: Tier) -> TierStats {
        let unusable = self.unusable.load(Relaxed);
        let hits = self.found.count().saturating_sub(unusable);
        let misses = self.absent.count() + self.broken.count() + unusable;
        let latency = |share| self.latency.at(share).map(Into::into);
        TierStats {
            tier: tier.name().to_owned(),
            enabled: true,
            hits: count(hits),
            misses: count(misses),
            hit_rate: rate(hits, misses),
            latency_p50: latency(0.5),
            latency_p99: latency(0.99),
            breaker_state: "closed".to_owned(),
            last_error: self.last_error.lock().clone(),
            errors: count(self.errors.load(Relaxed)),
            garbage: count(self.garbage.load(Relaxed)),
            ..TierStats::default()
        }
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The share of hits; 0 without lookups.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than a double's digits")]
fn rate(hits: u64, misses: u64) -> f64 {
    let asked = hits.saturating_add(misses);
    if asked == 0 { 0.0 } else { hits as f64 / asked as f64 }
}

impl WriteOutcome {
    pub const NAMED: [(Self, &'static str); 3] =
        [(Self::Done, "ok"), (Self::Failed, "error"), (Self::Skipped, "skipped")];

    #[must_use]
    pub fn of(written: &Result<(), TierError>) -> Self {
        match written {
            Ok(()) => Self::Done,
            Err(TierError::Open) => Self::Skipped,
            Err(_) => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_add_up() {
        let metrics = TierMetrics::new(Tier::Redis, &Meter::none());
        assert_eq!(metrics.stats(Tier::Redis).latency_p50, None);
        assert_eq!(metrics.stats(Tier::Redis).hit_rate, 0.0);
        for _ in 0..4 {
            metrics.hit(Duration::from_millis(1));
        }
        metrics.refused();
        metrics.looked_up::<()>(&Err(TierError::Timeout), Duration::from_millis(50));
        metrics.failed(&TierError::Garbage("x".repeat(500)));
        metrics.failed(&TierError::Open);
        let stats = metrics.stats(Tier::Redis);
        assert_eq!((stats.hits, stats.misses, stats.errors, stats.garbage), (3, 2, 1, 1));
        assert!((stats.hit_rate - 0.6).abs() < 1e-9);
        assert_eq!(stats.last_error.chars().count(), ERROR_CHARS_MAX);
        let p50 = Duration::try_from(&stats.latency_p50.unwrap()).unwrap();
        assert!(p50 >= Duration::from_micros(990) && p50 < Duration::from_micros(1010), "{p50:?}");
        let p99 = Duration::try_from(&stats.latency_p99.unwrap()).unwrap();
        assert!(p99 >= Duration::from_micros(49_500) && p99 < Duration::from_micros(50_500), "{p99:?}");
    }
}
