//! A histogram of durations that takes no lock: each core counts in buckets of its own.
//!
//! OpenTelemetry's SDK takes a lock per record, and cannot observe a histogram at collection. So each collection first
//! copies the counts into the SDK ([`Accounts::tell`]), as records of each bucket's mean. The SDK's buckets and sums are
//! then those of single records.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::metrics::BoundHistogram;

use super::per_core::PerCore;
use crate::sync::Mutex;

/// DurationHistogram with their attributes. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DurationHistogram(Arc<Account>);

/// All durations of a meter's provider.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts(Arc<Mutex<Vec<Arc<Account>>>>);

#[derive(Debug)]
struct Account {
    /// Upper bounds of the buckets, which contain them, in nanoseconds. There is one bucket more.
    bounds: Vec<u64>,
    counts: PerCore<Box<[Bucket]>>,
    /// None if no reader collects.
    instrument: Option<BoundHistogram<f64>>,
    /// By bucket: the records that the instrument has, and their sum.
    told: Mutex<Vec<(u64, u64)>>,
}

#[derive(Debug, Default)]
struct Bucket {
    records: AtomicU64,
    nanoseconds: AtomicU64,
}

impl DurationHistogram {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = &self.0.counts.mine()[self.0.bounds.partition_point(|bound| *bound < nanoseconds)];
        bucket.nanoseconds.fetch_add(nanoseconds, Relaxed);
        bucket.records.fetch_add(1, Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.counts.parts().flatten().map(|bucket| bucket.records.load(Relaxed)).sum()
    }
}

impl Accounts {
    /// DurationHistogram in these buckets, for this instrument.
    pub(super) fn open(&self, bounds: &[f64], instrument: BoundHistogram<f64>) -> DurationHistogram {
        let account = Arc::new(Account::new(bounds, Some(instrument)));
        self.0.lock().push(Arc::clone(&account));
        DurationHistogram(account)
    }

    /// Tells the instruments what is new. A second reader waits until the first has told everything.
    pub(super) fn tell(&self) {
        self.0.lock().iter().for_each(|account| account.tell());
    }
}

impl Account {
    fn new(bounds: &[f64], instrument: Option<BoundHistogram<f64>>) -> Self {
        let bounds: Vec<u64> = bounds.iter().map(|bound| nanoseconds(*bound)).collect();
        let buckets = bounds.len() + 1;
        let counts = PerCore::new(|| (0..buckets).map(|_| Bucket::default()).collect());
        Self { bounds, counts, instrument, told: Mutex::new(vec![(0, 0); buckets]) }
    }

    fn tell(&self) {
        let Some(instrument) = &self.instrument else { return };
        for (index, told) in self.told.lock().iter_mut().enumerate() {
            let buckets = self.counts.parts().map(|part| &part[index]);
            let (records, sum) = buckets.fold((0, 0_u64), |(records, sum), bucket| {
                (records + bucket.records.load(Relaxed), sum.wrapping_add(bucket.nanoseconds.load(Relaxed)))
            });
            let new = records - told.0;
            if new == 0 {
                continue;
            }
            let mean = seconds(sum.wrapping_sub(told.1), new).clamp(self.least(index), self.most(index));
            *told = (records, sum);
            for _ in 0..new {
                instrument.record(mean);
            }
        }
    }

    /// A record that is under way may be in the sum and not yet in the count: the mean stays in its bucket all the same.
    fn least(&self, index: usize) -> f64 {
        index.checked_sub(1).map_or(0.0, |below| seconds(self.bounds[below] + 1, 1))
    }

    fn most(&self, index: usize) -> f64 {
        self.bounds.get(index).map_or(f64::MAX, |bound| seconds(*bound, 1))
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::new(&[], None)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounds are constants between 1 us and 1 h"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "16 digits of a mean are enough")]
fn seconds(nanoseconds: u64, records: u64) -> f64 {
    nanoseconds as f64 / records as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Telemetry, names::LOOKUP_DURATION};

    #[test]
    fn a_collection_shows_the_buckets_and_the_sum_of_the_single_records() {
        let telemetry = Telemetry::quiet();
        let durations = telemetry.meter().durations(&LOOKUP_DURATION, &["redis", "hit"]);
        let shown = |line: &str| {
            let text = telemetry.scrape().text();
            let lines = text.lines().filter(|shown| shown.contains("redis") && shown.contains("\"hit\""));
            let line =
                lines.filter_map(|shown| shown.strip_prefix("userdata_cache_lookup_duration_seconds_")).find_map(
                    |shown| shown.contains(line).then(|| shown.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()),
                );
            line.unwrap_or_else(|| panic!("{text}"))
        };
        std::thread::scope(|scope| {
            for milliseconds in 1..=100 {
                let durations = durations.clone();
                scope.spawn(move || durations.record(Duration::from_millis(milliseconds)));
            }
        });
        assert_eq!((durations.count(), shown("count")), (100, 100.0));
        assert!((shown("sum") - 5.05).abs() < 1e-9);
        // A bucket contains its upper bound.
        assert_eq!((shown("le=\"0.01\""), shown("le=\"0.05\""), shown("le=\"+Inf\"")), (10.0, 50.0, 100.0));
        durations.record(Duration::from_millis(7));
        assert_eq!((shown("count"), shown("le=\"0.01\"")), (101.0, 11.0));
    }
}
