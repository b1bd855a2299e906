//! Access counts: a hit increments a counter in memory, and a flush writes all counters now and then.
//!
//! A crash loses at most the counts since the last flush. A failed flush keeps its counts for the next one, within the
//! same bound. Accesses of further keys are dropped, and the drops are counted.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use chrono::{DateTime, Utc};

use super::{database::DatabaseTier, error::TierError};
use crate::{
    clock::Clock,
    model::CacheKey,
    sync::{Mutex, MutexGuard},
};

/// Enough that two cores seldom contend for one.
const SHARDS: usize = 16;
/// Rows of one statement: some 10 ms of SQLite's only writer, which invalidations wait for.
const ROWS_PER_STATEMENT: usize = 1000;

/// Accesses since the last flush.
#[derive(Debug)]
pub struct AccessCounts {
    shards: [Mutex<HashMap<CacheKey, Accesses>>; SHARDS],
    keys_max: usize,
    keys: AtomicUsize,
    dropped: AtomicU64,
    clock: Clock,
}

#[derive(Clone, Copy, Debug)]
struct Accesses {
    count: u64,
    last: DateTime<Utc>,
}

impl AccessCounts {
    /// Holds at most `keys_max` keys between two flushes.
    #[must_use]
    pub fn new(keys_max: usize, clock: Clock) -> Self {
        let (shards, keys, dropped) = Default::default();
        Self { shards, keys_max, keys, dropped, clock }
    }

    pub fn count(&self, key: &CacheKey) {
        self.add(key, Accesses { count: 1, last: self.clock.utc() });
    }

    /// Accesses dropped because of too many keys.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Adds the counts to the cache table, in one statement or a few. Keeps the counts that it cannot write.
    pub async fn flush(&self, database: &DatabaseTier) -> Result<(), TierError> {
        let mut taken = UnwrittenCounts { counts: self, accesses: self.take() };
        while !taken.accesses.is_empty() {
            let rows = taken.accesses.len().min(ROWS_PER_STATEMENT);
            database.add_accesses(&taken.accesses[..rows]).await?;
            taken.accesses.drain(..rows);
        }
        Ok(())
    }

    fn add(&self, key: &CacheKey, accesses: Accesses) {
        let mut shard = self.shard(key);
        if let Some(held) = shard.get_mut(key) {
            held.count += accesses.count;
            held.last = held.last.max(accesses.last);
            return;
        }
        if self.keys.fetch_add(1, Relaxed) >= self.keys_max {
            self.keys.fetch_sub(1, Relaxed);
            self.dropped.fetch_add(accesses.count, Relaxed);
            return;
        }
        shard.insert(key.clone(), accesses);
    }

    fn take(&self) -> Vec<(CacheKey, u64, DateTime<Utc>)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let held = std::mem::take(&mut *shard.lock());
            self.keys.fetch_sub(held.len(), Relaxed);
            taken.extend(held.into_iter().map(|(key, accesses)| (key, accesses.count, accesses.last)));
        }
        taken
    }

    /// Picks the shard by a byte of the digest that the map does not hash.
    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, HashMap<CacheKey, Accesses>> {
        self.shards[usize::from(key.hash.bytes()[31]) % SHARDS].lock()
    }
}

/// Counts that a flush has taken. A flush that fails or is dropped returns the rest.
struct UnwrittenCounts<'a> {
    counts: &'a AccessCounts,
    accesses: Vec<(CacheKey, u64, DateTime<Utc>)>,
}

impl Drop for UnwrittenCounts<'_> {
    fn drop(&mut self) {
        for (key, count, last) in self.accesses.drain(..) {
            self.counts.add(&key, Accesses { count, last });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::testing::key;

    #[test]
    fn counts_of_many_threads_add_up_within_the_bound() {
        let counts = Arc::new(AccessCounts::new(50, Clock::system()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..10_000 {
                        counts.count(&key(&(round % 100).to_string(), None));
                    }
                });
            }
        });
        let taken = counts.take();
        assert!(taken.len() <= 50, "{}", taken.len());
        assert_eq!(taken.iter().map(|(_, count, _)| count).sum::<u64>() + counts.dropped(), 40_000);
        assert!(counts.take().is_empty());
    }

    #[test]
    fn a_flush_that_is_dropped_loses_nothing() {
        let clock = Clock::system();
        let counts = AccessCounts::new(50, clock.clone());
        counts.count(&key("1", None));
        let taken = UnwrittenCounts { counts: &counts, accesses: counts.take() };
        clock.advance(std::time::Duration::from_secs(5));
        counts.count(&key("1", None));
        let last = clock.utc();
        drop(taken);
        let counted = counts.take();
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].1, 2);
        assert!((last - counted[0].2).num_seconds() < 1, "the later access is the last one");
    }
}
