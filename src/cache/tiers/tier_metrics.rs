//! What a tier counts about itself since the start of this instance. Lock-free except for the histogram, whose mutex is
//! held for one increment.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::error::TierError;
use crate::{
    model::Tier,
    proto::v1::TierStats,
    sync::Mutex,
    telemetry::{DurationHistogram, Meter, names::LOOKUP_DURATION},
};

/// Longer lookups count as this long: no tier waits longer.
const LATENCY_MAX: Duration = Duration::from_secs(60);
/// Two digits distinguish 1.2 ms from 1.3 ms; the histogram then takes 30 KB.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Characters kept of an error.
const ERROR_CHARS_MAX: usize = 200;

#[derive(Debug)]
pub struct TierMetrics {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    garbage: AtomicU64,
    latency_ns: Mutex<Histogram<u64>>,
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
        let latency_ns = Histogram::new_with_bounds(1, nanoseconds(LATENCY_MAX), SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram accepts");
        let lookups = |outcome| meter.durations(&LOOKUP_DURATION, &[tier.name(), outcome]);
        let [hits, misses, errors, garbage] = Default::default();
        Self {
            hits,
            misses,
            errors,
            garbage,
            latency_ns: Mutex::new(latency_ns),
            last_error: Mutex::default(),
            writes: Default::default(),
            found: lookups("hit"),
            absent: lookups("miss"),
            broken: lookups("error"),
        }
    }

    pub fn hit(&self, took: Duration) {
        self.hits.fetch_add(1, Relaxed);
        self.found.record(took);
        self.took(took);
    }

    pub fn miss(&self, took: Duration) {
        self.misses.fetch_add(1, Relaxed);
        self.absent.record(took);
        self.took(took);
    }

    pub fn looked_up<T>(&self, found: &Result<Option<T>, TierError>, took: Duration) {
        match found {
            Ok(Some(_)) => self.hit(took),
            Ok(None) => self.miss(took),
            Err(error) => {
                self.misses.fetch_add(1, Relaxed);
                self.broken.record(took);
                self.took(took);
                self.failed(error);
            }
        }
    }

    /// Turns the last hit into a miss: the snapshot was outdated, expired or of another epoch.
    pub fn refused(&self) {
        self.hits.fetch_sub(1, Relaxed);
        self.misses.fetch_add(1, Relaxed);
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
        let (hits, misses) = (self.hits.load(Relaxed), self.misses.load(Relaxed));
        let latency_ns = self.latency_ns.lock();
        let quantile =
            |q| (!latency_ns.is_empty()).then(|| Duration::from_nanos(latency_ns.value_at_quantile(q)).into());
        TierStats {
            tier: tier.name().to_owned(),
            enabled: true,
            hits: count(hits),
            misses: count(misses),
            hit_rate: rate(hits, misses),
            latency_p50: quantile(0.5),
            latency_p99: quantile(0.99),
            breaker_state: "closed".to_owned(),
            last_error: self.last_error.lock().clone(),
            errors: count(self.errors.load(Relaxed)),
            garbage: count(self.garbage.load(Relaxed)),
            ..TierStats::default()
        }
    }

    fn took(&self, took: Duration) {
        self.latency_ns.lock().saturating_record(nanoseconds(took));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
