//! The memory tier: one of two engines behind one writer.
//!
//! Every write happens under one mutex: [`engine`] needs that, and it makes "look, then keep" one step. Reads take no lock
//! of this tier. The engines' own expiry uses the real clock and does not know the invalidation log, so each entry
//! carries its expiry and readers check it. An engine may refuse a new entry; the callers of a load get their document
//! from the load, not from here.

mod engine;
mod entry;
mod json;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use self::engine::Engine;
pub use self::{
    entry::{MemoryEntry, MemoryValue, Unread},
    json::{JsonDocument, JsonDocuments, JsonEpoch, JsonForm},
};
use crate::{
    config,
    model::{CacheKey, Scope},
    sync::Mutex,
};

#[derive(Debug)]
pub struct MemoryTier {
    engine: Engine,
    writer: Mutex<()>,
    evictions: AtomicU64,
    json: Arc<JsonDocuments>,
}

impl MemoryTier {
    #[must_use]
    pub fn new(config: &config::MemorySettings) -> Self {
        Self::with_json(config, 0.0)
    }

    /// With a share of its bytes for documents as JSON.
    #[must_use]
    pub fn with_json(config: &config::MemorySettings, share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share"
        )]
        let json_bytes = (config.max_bytes as f64 * share) as u64;
        let documents = config::MemorySettings { max_bytes: config.max_bytes - json_bytes, ..config.clone() };
        Self {
            engine: Engine::new(&documents),
            writer: Mutex::new(()),
            evictions: AtomicU64::new(0),
            json: Arc::new(JsonDocuments::new(json_bytes, config.ttl)),
        }
    }

    /// The documents that were asked for as JSON.
    #[must_use]
    pub fn json(&self) -> &Arc<JsonDocuments> {
        &self.json
    }

    /// The entry of a key, expired or not.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<MemoryEntry> {
        self.engine.get(key)
    }

    /// Keeps an entry unless a newer one is there. Returns whether it was kept.
    pub fn put(&self, key: CacheKey, entry: MemoryEntry) -> bool {
        self.put_unless(key, entry, |_| true)
    }

    /// As [`Self::put`]; an entry there counts only if it is `usable`.
    pub fn put_unless(&self, key: CacheKey, entry: MemoryEntry, usable: impl Fn(&MemoryEntry) -> bool) -> bool {
        let _writing = self.writer.lock();
        let present = self.engine.peek(&key);
        if present.as_ref().is_some_and(|present| present.is_newer_than(&entry) && usable(present)) {
            return false;
        }
        let expected = self.engine.entries() + u64::from(present.is_none());
        self.engine.insert(key, entry);
        // No other write happens meanwhile, so missing entries were evicted or refused.
        self.evictions.fetch_add(expected.saturating_sub(self.engine.entries()), Relaxed);
        true
    }

    /// Drops the entries of a scope. Walks the whole tier, so it is for purges: readers skip what an invalidation has
    /// outdated.
    pub fn remove(&self, scope: &Scope) {
        let is_in_scope = |key: &CacheKey| {
            key.user == scope.user
                && (scope.strategy.is_none() || key.strategy.is_none() || key.strategy == scope.strategy)
        };
        self.json.clear();
        let _writing = self.writer.lock();
        self.engine.remove(is_in_scope);
    }

    pub fn clear(&self) {
        self.json.clear();
        let _writing = self.writer.lock();
        self.engine.clear();
    }

    #[must_use]
    pub fn entries(&self) -> u64 {
        self.engine.entries()
    }

    /// The weight of all entries, of each at least its share of the limit (`memory.max_bytes` / `memory.max_entries`).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.engine.bytes()
    }

    /// Entries evicted or refused for lack of room.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
