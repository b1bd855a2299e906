//! Quantiles of durations to two digits, counted without a lock: 64 buckets for each power of two, per core.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::per_core::PerCore;

/// 64 buckets tell 1.2 ms from 1.3 ms; the middle of a bucket is within 0.8 % of its durations.
const DIGIT_BITS: u32 = 6;
/// Longer durations count as this long: 137 s, twice the hard timeout of an AI call.
const NANOSECONDS_MAX: u64 = (1 << 37) - 1;

/// Durations since the start.
#[derive(Debug)]
pub struct Quantiles(PerCore<Box<[AtomicU64]>>);

impl Quantiles {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.mine()[bucket(nanoseconds)].fetch_add(1, Relaxed);
    }

    /// The duration that this share of all did not exceed; none without durations.
    #[must_use]
    pub fn at(&self, share: f64) -> Option<Duration> {
        let count = |bucket: usize| self.0.parts().map(|part| part[bucket].load(Relaxed)).sum::<u64>();
        let counts: Vec<u64> = (0..=bucket(NANOSECONDS_MAX)).map(count).collect();
        let all: u64 = counts.iter().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count, rounded up to one"
        )]
        let rank = (share * all as f64).ceil() as u64;
        let mut up_to = 0;
        let found = counts.into_iter().position(|count| {
            up_to += count;
            count > 0 && up_to >= rank
        });
        found.map(middle)
    }
}

impl Default for Quantiles {
    fn default() -> Self {
        let buckets = bucket(NANOSECONDS_MAX) + 1;
        Self(PerCore::new(|| (0..buckets).map(|_| AtomicU64::new(0)).collect()))
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let nanoseconds = nanoseconds.min(NANOSECONDS_MAX);
    let shift = (u64::BITS - DIGIT_BITS - 1).saturating_sub(nanoseconds.leading_zeros());
    ((shift as usize) << DIGIT_BITS) + usize::try_from(nanoseconds >> shift).expect("seven bits")
}

fn middle(bucket: usize) -> Duration {
    let shift = (bucket >> DIGIT_BITS).saturating_sub(1);
    let least = ((bucket - (shift << DIGIT_BITS)) as u64) << shift;
    Duration::from_nanos(least + (1 << shift) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_within_a_hundredth_of_the_middle_of_its_bucket() {
        for nanoseconds in (0..37).flat_map(|bit| [1_u64 << bit, (1 << bit) + (1 << bit) / 3, (2 << bit) - 1]) {
            let told = u64::try_from(middle(bucket(nanoseconds)).as_nanos()).unwrap();
            assert!(told.abs_diff(nanoseconds) * 100 <= nanoseconds, "{nanoseconds}: {told}");
        }
        assert_eq!(bucket(u64::MAX), bucket(NANOSECONDS_MAX));
    }

    #[test]
    fn quantiles_are_those_of_all_threads() {
        let quantiles = Quantiles::default();
        assert_eq!(quantiles.at(0.5), None);
        std::thread::scope(|scope| {
            for milliseconds in 1..=100 {
                let quantiles = &quantiles;
                scope.spawn(move || quantiles.record(Duration::from_millis(milliseconds)));
            }
        });
        for (share, milliseconds) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let told = quantiles.at(share).unwrap().as_secs_f64() * 1000.0;
            assert!((told / milliseconds - 1.0).abs() < 0.01, "{share}: {told}");
        }
    }
}
