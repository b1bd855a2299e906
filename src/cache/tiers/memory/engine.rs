//! The two engines, and how to use each safely.
//!
//! *mini-moka* 0.10.3 is not memory-safe under concurrent writes (moka-rs/mini-moka issue 53), so `sync()` follows every
//! write before the mutex is released. *quick_cache* is safe by itself.
//!
//! An enum rather than a trait: there are two, and the configuration names them.
//!
//! Invariant: callers of a function that writes hold the tier's mutex.

use std::hash::{BuildHasherDefault, Hasher};

use mini_moka::sync::{Cache as MiniMoka, ConcurrentCacheExt as _};
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache as QuickCache, DefaultLifecycle},
};

use super::entry::MemoryEntry;
use crate::{
    config::{self, MemoryEngine},
    model::CacheKey,
};

/// quick_cache bounds each shard by itself, and refuses an entry larger than a shard: several of the largest replies
/// (`server.max_response_bytes`, 4 MiB) have to fit.
const SHARD_BYTES_MIN: u64 = 16 << 20;
/// Enough that threads seldom contend for one. quick_cache wants a power of two.
const SHARDS_MAX: u64 = 16;
/// No document weighs less. quick_cache remembers the keys of evicted entries, half as many as the entries it expects;
/// with an expectation of `max_entries` these keys alone could outgrow `max_bytes`.
const DOCUMENT_BYTES_MIN: u64 = 2 << 10;

type ByDigest = BuildHasherDefault<DigestHasher>;

/// A map that is bounded by what its values weigh.
#[derive(Debug)]
pub(super) enum Engine {
    MiniMoka(MiniMoka<CacheKey, MemoryEntry, ByDigest>),
    QuickCache(QuickCache<CacheKey, MemoryEntry, Weight, ByDigest>),
}

/// Both limits in one: nothing weighs less than its share of the bytes, so that at most `max_entries` fit.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    share: u32,
}

impl Weight {
    pub(super) fn bounding(entries: u64, bytes: u64) -> Self {
        // Rounded up, or one more would fit.
        Self { share: u32::try_from(bytes.div_ceil(entries.max(1))).unwrap_or(u32::MAX) }
    }

    pub(super) fn of(&self, entry: &MemoryEntry) -> u32 {
        entry.weight().max(self.share)
    }
}

impl Weighter<CacheKey, MemoryEntry> for Weight {
    fn weight(&self, _: &CacheKey, entry: &MemoryEntry) -> u64 {
        self.of(entry).into()
    }
}

/// Takes the eight digest bytes of a [`CacheKey`] as they are, because they are evenly distributed.
#[derive(Debug, Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

impl Engine {
    pub(super) fn new(config: &config::MemorySettings) -> Self {
        // mini-moka's weights have 32 bits, so no share may be larger.
        let capacity = config.max_bytes.min(config.max_entries.saturating_mul(u32::MAX.into()));
        let weight = Weight::bounding(config.max_entries, capacity);
        match config.engine {
            MemoryEngine::MiniMoka => Self::MiniMoka(
                MiniMoka::builder()
                    .max_capacity(capacity)
                    .weigher(move |_: &CacheKey, entry: &MemoryEntry| weight.of(entry))
                    .build_with_hasher(ByDigest::default()),
            ),
            MemoryEngine::QuickCache => {
                let shards = 1 << (capacity / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX).ilog2();
                let documents = config.max_entries.min(capacity / DOCUMENT_BYTES_MIN).max(1);
                let options = OptionsBuilder::new()
                    .shards(usize::try_from(shards).expect("at most sixteen"))
                    // Rounded down, because quick_cache rounds each shard's part up.
                    .weight_capacity(capacity / shards * shards)
                    .estimated_items_capacity(usize::try_from(documents).unwrap_or(usize::MAX))
                    // Their defaults, with which the figures in docs/performance.md were measured.
                    .hot_allocation(0.97)
                    .ghost_allocation(0.5)
                    .build()
                    .expect("both capacities are given");
                let lifecycle = DefaultLifecycle::default();
                Self::QuickCache(QuickCache::with_options(options, weight, ByDigest::default(), lifecycle))
            }
        }
    }

    /// Counts as a use of the entry.
    pub(super) fn get(&self, key: &CacheKey) -> Option<MemoryEntry> {
        match self {
            Self::MiniMoka(cache) => cache.get(key),
            Self::QuickCache(cache) => cache.get(key),
        }
    }

    /// For writers; not a use of the entry, except in mini-moka.
    pub(super) fn peek(&self, key: &CacheKey) -> Option<MemoryEntry> {
        match self {
            Self::MiniMoka(cache) => cache.get(key),
            Self::QuickCache(cache) => cache.peek(key),
        }
    }

    pub(super) fn insert(&self, key: CacheKey, entry: MemoryEntry) {
        match self {
            Self::MiniMoka(cache) => {
                cache.insert(key, entry);
                cache.sync();
            }
            Self::QuickCache(cache) => cache.insert(key, entry),
        }
    }

    /// Walks all entries.
    pub(super) fn remove(&self, is_in_scope: impl Fn(&CacheKey) -> bool) {
        match self {
            Self::MiniMoka(cache) => {
                let keys = cache.iter().map(|entry| entry.key().clone()).filter(|key| is_in_scope(key));
                for key in keys.collect::<Vec<_>>() {
                    cache.invalidate(&key);
                    cache.sync();
                }
            }
            Self::QuickCache(cache) => cache.retain(|key, _| !is_in_scope(key)),
        }
    }

    pub(super) fn clear(&self) {
        match self {
            Self::MiniMoka(cache) => {
                cache.invalidate_all();
                cache.sync();
            }
            Self::QuickCache(cache) => cache.clear(),
        }
    }

    pub(super) fn entries(&self) -> u64 {
        match self {
            Self::MiniMoka(cache) => cache.entry_count(),
            Self::QuickCache(cache) => u64::try_from(cache.len()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::MiniMoka(cache) => cache.weighted_size(),
            Self::QuickCache(cache) => cache.weight(),
        }
    }

    /// All readable entries, for a comparison with the engine's own counts.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(CacheKey, MemoryEntry)> {
        match self {
            Self::MiniMoka(cache) => cache.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect(),
            Self::QuickCache(cache) => cache.iter().collect(),
        }
    }
}
