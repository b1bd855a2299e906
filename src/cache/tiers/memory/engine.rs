//! The two engines, and what each needs to be used safely.
//!
//! *mini-moka* 0.10.3 is not memory-safe when several threads write at once (moka-rs/mini-moka issue 53), so every
//! write is followed by `sync()` before the writer's mutex is released. *quick_cache* is safe by itself.
//!
//! An enum and no trait: there are two, and the configuration names them.
//!
//! Invariant: whoever calls a function that changes something holds the tier's mutex.

use std::hash::BuildHasherDefault;

use mini_moka::sync::{Cache as MiniMoka, ConcurrentCacheExt as _};
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache as QuickCache, DefaultLifecycle},
};

use super::{DigestHasher, MemoryEntry};
use crate::{
    config::{self, MemoryEngine},
    model::CacheKey,
};

/// quick_cache bounds each of its shards by itself, and lets in nothing that is larger than one: several of the
/// largest replies (`server.max_response_bytes`, 4 MiB) have to fit.
const SHARD_BYTES_MIN: u64 = 16 << 20;
/// Enough that threads seldom meet in one. quick_cache wants a power of two.
const SHARDS_MAX: u64 = 16;
/// No document weighs less. quick_cache remembers half as many keys of documents that it gave up as it expects to
/// hold documents: expecting as many as `max_entries` allows, these alone could outgrow `max_bytes`.
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

    pub(super) fn of(&self, held: &MemoryEntry) -> u32 {
        held.weight().max(self.share)
    }
}

impl Weighter<CacheKey, MemoryEntry> for Weight {
    fn weight(&self, _: &CacheKey, held: &MemoryEntry) -> u64 {
        self.of(held).into()
    }
}

impl Engine {
    pub(super) fn new(config: &config::Memory) -> Self {
        // mini-moka's weights have 32 bits, so no share may be larger.
        let capacity = config.max_bytes.min(config.max_entries.saturating_mul(u32::MAX.into()));
        let weight = Weight::bounding(config.max_entries, capacity);
        match config.engine {
            MemoryEngine::MiniMoka => Self::MiniMoka(
                MiniMoka::builder()
                    .max_capacity(capacity)
                    .weigher(move |_: &CacheKey, held: &MemoryEntry| weight.of(held))
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

    /// What is held for a key. Counts as a use of it.
    pub(super) fn get(&self, key: &CacheKey) -> Option<MemoryEntry> {
        match self {
            Self::MiniMoka(cache) => cache.get(key),
            Self::QuickCache(cache) => cache.get(key),
        }
    }

    /// The same for who is about to write. mini-moka cannot help counting it as a use.
    pub(super) fn peek(&self, key: &CacheKey) -> Option<MemoryEntry> {
        match self {
            Self::MiniMoka(cache) => cache.get(key),
            Self::QuickCache(cache) => cache.peek(key),
        }
    }

    pub(super) fn insert(&self, key: CacheKey, held: MemoryEntry) {
        match self {
            Self::MiniMoka(cache) => {
                cache.insert(key, held);
                cache.sync();
            }
            Self::QuickCache(cache) => cache.insert(key, held),
        }
    }

    /// Drops the documents of these keys. Walks all of them.
    pub(super) fn remove(&self, concerned: impl Fn(&CacheKey) -> bool) {
        match self {
            Self::MiniMoka(cache) => {
                let keys = cache.iter().map(|entry| entry.key().clone()).filter(|key| concerned(key));
                for key in keys.collect::<Vec<_>>() {
                    cache.invalidate(&key);
                    cache.sync();
                }
            }
            Self::QuickCache(cache) => cache.retain(|key, _| !concerned(key)),
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

    /// What can really be found, to be compared with what the engine says of itself.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(CacheKey, MemoryEntry)> {
        match self {
            Self::MiniMoka(cache) => cache.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect(),
            Self::QuickCache(cache) => cache.iter().collect(),
        }
    }
}
