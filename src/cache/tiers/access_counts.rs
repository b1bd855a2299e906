//! Access counts: a hit costs an increment in memory, and once in a while all of them are written.
//!
//! At most the counts since the last write are lost with the process. What cannot be written is kept
//! for the next time, within the same bound; keys beyond it are not counted, which is counted.

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

/// Enough that two cores seldom meet in one.
const SHARDS: usize = 16;
/// Rows of one statement: some 10 ms of SQLite's only writer, which fences wait for.
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

    /// One access, now.
    pub fn count(&self, key: &CacheKey) {
        self.add(key, Accesses { count: 1, last: self.clock.utc() });
    }

    /// Accesses that were not counted because too many keys were held.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Adds what was counted to the cache table: one statement, or a few if the keys are many. What
    /// could not be written is counted again.
    pub async fn flush(&self, database: &DatabaseTier) -> Result<(), TierError> {
        let mut taken = UnwrittenCounts { tally: self, accesses: self.take() };
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
            let held = std::mem::take(&mut *lock(shard));
            self.keys.fetch_sub(held.len(), Relaxed);
            taken.extend(held.into_iter().map(|(key, accesses)| (key, accesses.count, accesses.last)));
        }
        taken
    }

    /// By another byte of the digest than those that the map hashes.
    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, HashMap<CacheKey, Accesses>> {
        lock(&self.shards[usize::from(key.hash.bytes()[31]) % SHARDS])
    }
}

/// What a flush has taken out; what is left when it ends, by an error or because it was dropped, goes back.
struct UnwrittenCounts<'a> {
    tally: &'a AccessCounts,
    accesses: Vec<(CacheKey, u64, DateTime<Utc>)>,
}

impl Drop for UnwrittenCounts<'_> {
    fn drop(&mut self) {
        for (key, count, last) in self.accesses.drain(..) {
            self.tally.add(&key, Accesses { count, last });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::testing::key;

    #[test]
    fn counts_of_many_threads_add_up_within_the_bound() {
        let tally = Arc::new(AccessCounts::new(50, Clock::system()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..10_000 {
                        tally.count(&key(&(round % 100).to_string(), None));
                    }
                });
            }
        });
        let taken = tally.take();
        assert!(taken.len() <= 50, "{}", taken.len());
        assert_eq!(taken.iter().map(|(_, count, _)| count).sum::<u64>() + tally.dropped(), 40_000);
        assert!(tally.take().is_empty());
    }

    #[test]
    fn a_flush_that_is_dropped_loses_nothing() {
        let clock = Clock::system();
        let tally = AccessCounts::new(50, clock.clone());
        tally.count(&key("1", None));
        let taken = UnwrittenCounts { tally: &tally, accesses: tally.take() };
        clock.advance(std::time::Duration::from_secs(5));
        tally.count(&key("1", None));
        let last = clock.utc();
        drop(taken);
        let counted = tally.take();
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].1, 2);
        assert!((last - counted[0].2).num_seconds() < 1, "the later access is the last one");
    }
}
