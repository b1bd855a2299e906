//! The memory tier: one of two engines behind one writer.
//!
//! Every write happens under one mutex, as [`engine`] needs it and so that looking and then keeping is one step; reads
//! take none of ours. The engines' own expiry reads the real clock and knows no fences, so expiry is kept beside each
//! value and judged by the reader. An engine may refuse a new value: nobody may count on finding what was just put; a
//! load's waiters get it from their flight.

mod engine;

use std::{
    hash::Hasher,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use self::engine::Engine;
use crate::{
    clock::Moment,
    config,
    error::Missing,
    model::{CacheKey, Scope, Snapshot},
    sync::{Mutex, MutexGuard},
};

/// What a key is known to stand for.
#[derive(Clone, Debug)]
pub struct MemoryEntry {
    /// The document, or that there is none.
    pub answer: MemoryValue,
    /// When it stops being served as fresh.
    pub until: Moment,
    /// When whoever is given it is to see whether it is due to be assembled anew.
    pub renew_from: Moment,
    /// Of a document that was assembled before anybody asked for it.
    pub unread: Option<Unread>,
}

/// Whether nobody has read a document yet. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Unread(Arc<AtomicBool>);

impl Default for Unread {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Unread {
    /// True for the first one who reads it.
    #[must_use]
    pub fn ends(&self) -> bool {
        // Nearly always somebody has been here before, and a hit writes nothing.
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

/// A document, or that there is none.
#[derive(Clone, Debug)]
pub enum MemoryValue {
    /// The document.
    Snapshot(Snapshot),
    /// The sources know no such user or strategy.
    NotFound {
        /// What was missing.
        what: Missing,
        /// The invalidation log that the tag is a position of.
        epoch: Arc<str>,
        /// The position known before the sources were read.
        read_position: i64,
    },
}

/// The memory tier.
#[derive(Debug)]
pub struct MemoryTier {
    engine: Engine,
    writer: Mutex<()>,
    evictions: AtomicU64,
}

impl MemoryTier {
    /// An empty tier.
    #[must_use]
    pub fn new(config: &config::Memory) -> Self {
        Self { engine: Engine::new(config), writer: Mutex::new(()), evictions: AtomicU64::new(0) }
    }

    /// What is held for a key, fresh or not.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<MemoryEntry> {
        self.engine.get(key)
    }

    /// Keeps an answer, unless one from a later assembly is held already. Whether it did.
    pub fn put(&self, key: CacheKey, held: MemoryEntry) -> bool {
        let _writing = self.writing();
        let present = self.engine.peek(&key);
        if present.as_ref().is_some_and(|present| present.is_newer_than(&held)) {
            return false;
        }
        let expected = self.engine.entries() + u64::from(present.is_none());
        self.engine.insert(key, held);
        // Nobody else writes meanwhile, so what is missing now was pushed out or not let in.
        self.evictions.fetch_add(expected.saturating_sub(self.engine.entries()), Relaxed);
        true
    }

    /// Drops what a scope holds. Walks the whole tier: for purges, not for every invalidation, whose
    /// fence already keeps everybody from reading it.
    pub fn remove(&self, scope: &Scope) {
        let concerned = |key: &CacheKey| {
            key.user == scope.user
                && (scope.strategy.is_none() || key.strategy.is_none() || key.strategy == scope.strategy)
        };
        let _writing = self.writing();
        self.engine.remove(concerned);
    }

    /// Drops everything.
    pub fn clear(&self) {
        let _writing = self.writing();
        self.engine.clear();
    }

    /// Documents held.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.engine.entries()
    }

    /// Their weight in bytes, of each at least its share of the limit (`memory.max_bytes` / `memory.max_entries`).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.engine.bytes()
    }

    /// Documents pushed out, or not let in, for lack of room.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writer.lock()
    }
}

/// What is held of an unknown user: its key, with a name of at most 255 bytes, and its place in the engine.
const NOT_FOUND_BYTES: u32 = 512;

impl MemoryEntry {
    fn weight(&self) -> u32 {
        match &self.answer {
            MemoryValue::Snapshot(snapshot) => u32::try_from(snapshot.weight()).unwrap_or(u32::MAX),
            MemoryValue::NotFound { .. } => NOT_FOUND_BYTES,
        }
    }

    /// A document from a later assembly is newer; between other answers the last one written counts.
    fn is_newer_than(&self, other: &Self) -> bool {
        match (&self.answer, &other.answer) {
            (MemoryValue::Snapshot(ours), MemoryValue::Snapshot(theirs)) => {
                ours.epoch == theirs.epoch && ours.as_of > theirs.as_of
            }
            _ => false,
        }
    }
}

/// Takes the eight digest bytes that a [`CacheKey`] hashes to as they are: they are spread evenly.
#[derive(Debug, Default)]
pub struct DigestHasher(u64);

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

#[cfg(test)]
mod tests;
