//! Metrics of a tier, since the start of this instance. A look-up takes no lock, and counts once: the statistics and
//! the scraped metrics read the same counts.

use std::time::Duration;

use super::error::TierError;
use crate::{
    cache::counters::{Counter, count, share},
    model::Tier,
    privacy::KeyError,
    proto::v1::TierStats,
    sync::Mutex,
    telemetry::{DurationHistogram, Meter, Quantiles, names::LOOKUP_DURATION},
};

/// Characters kept of an error.
const ERROR_CHARS_MAX: usize = 200;

#[derive(Debug, Default)]
pub struct TierMetrics {
    errors: Counter,
    garbage: Counter,
    /// Found, but outdated.
    unusable: Counter,
    latency: Quantiles,
    last_error: Mutex<String>,
    /// By [`WriteOutcome`].
    writes: [Counter; 3],
    found: DurationHistogram,
    absent: DurationHistogram,
    broken: DurationHistogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    Done,
    Failed,
    /// Not tried: the tier holds a newer snapshot, its circuit is open, or the user's key is not to be had.
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
        self.unusable.add(1);
    }

    pub fn wrote(&self, how: WriteOutcome) {
        self.writes[how as usize].add(1);
    }

    #[must_use]
    pub fn written(&self, how: WriteOutcome) -> i64 {
        self.writes[how as usize].get()
    }

    pub fn failed(&self, error: &TierError) {
        match error {
            // The call was skipped; the error that opened the circuit stays visible.
            TierError::Open | TierError::Keys(KeyError::Open) => return,
            TierError::Garbage(_) => self.garbage.add(1),
            TierError::Timeout | TierError::Redis(_) | TierError::Database(_) | TierError::Keys(_) => {
                self.errors.add(1);
            }
        }
        let line = error.line().chars().take(ERROR_CHARS_MAX).collect();
        *self.last_error.lock() = line;
    }

    /// The statistics of a tier in use. The tier adds its entries, bytes and circuit state.
    #[must_use]
    pub fn stats(&self, tier: Tier) -> TierStats {
        let lookups = count(self.found.count() + self.absent.count() + self.broken.count());
        let hits = (count(self.found.count()) - self.unusable.get()).max(0);
        let latency = |share| self.latency.at(share).map(Into::into);
        TierStats {
            tier: tier.name().to_owned(),
            enabled: true,
            hits,
            misses: lookups - hits,
            hit_rate: share(hits, lookups),
            latency_p50: latency(0.5),
            latency_p99: latency(0.99),
            breaker_state: "closed".to_owned(),
            last_error: self.last_error.lock().clone(),
            errors: self.errors.get(),
            garbage: self.garbage.get(),
            ..TierStats::default()
        }
    }
}

impl WriteOutcome {
    pub const NAMED: [(Self, &'static str); 3] =
        [(Self::Done, "ok"), (Self::Failed, "error"), (Self::Skipped, "skipped")];

    #[must_use]
    pub fn of(written: &Result<(), TierError>) -> Self {
        match written {
            Ok(()) => Self::Done,
            Err(TierError::Open | TierError::Keys(_)) => Self::Skipped,
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
