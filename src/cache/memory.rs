//! The memory tier: mini-moka behind one writer.
//!
//! mini-moka 0.10.3 is not memory-safe when several threads write at once (moka-rs/mini-moka issue
//! 53), so every write happens under one mutex and is followed by `sync()` before the mutex is
//! released; reads take no lock. Its own expiry reads the real clock and knows no fences, so expiry
//! is kept beside each value and judged by the reader. TinyLFU may refuse a new value: nobody may
//! count on finding what was just put; a load's waiters get it from their flight.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use mini_moka::sync::{Cache, ConcurrentCacheExt as _};

use crate::{
    clock::Moment,
    config,
    error::Missing,
    model::{CacheKey, Scope, Snapshot},
};

/// What a key is known to stand for.
#[derive(Clone, Debug)]
pub struct Held {
    /// The document, or that there is none.
    pub answer: Answer,
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
pub enum Answer {
    /// The document.
    Snapshot(Snapshot),
    /// The sources know no such user or strategy.
    NotFound {
        /// What was missing.
        what: Missing,
        /// The fence log that the tag is a position of.
        incarnation: Arc<str>,
        /// The position known before the sources were read.
        tag: i64,
    },
}

/// The memory tier.
#[derive(Debug)]
pub struct MemoryTier {
    cache: Cache<CacheKey, Held, BuildHasherDefault<DigestHasher>>,
    writer: Mutex<()>,
    evictions: AtomicU64,
}

impl MemoryTier {
    /// An empty tier.
    #[must_use]
    pub fn new(config: &config::Memory) -> Self {
        // Both limits in one: nothing weighs less than its share of the bytes, so that at most
        // `max_entries` fit.
        let share = u32::try_from(config.max_bytes / config.max_entries.max(1)).unwrap_or(u32::MAX);
        let cache = Cache::builder()
            .max_capacity(config.max_bytes)
            .weigher(move |_: &CacheKey, held: &Held| held.weight().max(share))
            .build_with_hasher(BuildHasherDefault::default());
        Self { cache, writer: Mutex::new(()), evictions: AtomicU64::new(0) }
    }

    /// What is held for a key, fresh or not.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Held> {
        self.cache.get(key)
    }

    /// Keeps an answer, unless one from a later assembly is held already. Whether it did.
    pub fn put(&self, key: CacheKey, held: Held) -> bool {
        let _writing = self.writing();
        let present = self.cache.get(&key);
        if present.as_ref().is_some_and(|present| present.is_newer_than(&held)) {
            return false;
        }
        let expected = self.cache.entry_count() + u64::from(present.is_none());
        self.cache.insert(key, held);
        self.cache.sync();
        // Nobody else writes meanwhile, so what is missing now was pushed out or not let in.
        self.evictions.fetch_add(expected.saturating_sub(self.cache.entry_count()), Relaxed);
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
        let keys: Vec<CacheKey> = self.cache.iter().map(|entry| entry.key().clone()).filter(concerned).collect();
        for key in keys {
            self.cache.invalidate(&key);
            self.cache.sync();
        }
    }

    /// Drops everything.
    pub fn clear(&self) {
        let _writing = self.writing();
        self.cache.invalidate_all();
        self.cache.sync();
    }

    /// Documents held.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.cache.entry_count()
    }

    /// Their weight in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }

    /// Documents pushed out, or not let in, for lack of room.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // The guarded value is `()`: a panic cannot have left it half-changed.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn weight(&self) -> u32 {
        match &self.answer {
            Answer::Snapshot(snapshot) => u32::try_from(snapshot.weight()).unwrap_or(u32::MAX),
            Answer::NotFound { .. } => 0,
        }
    }

    /// A document from a later assembly is newer; between other answers the last one written counts.
    fn is_newer_than(&self, other: &Self) -> bool {
        match (&self.answer, &other.answer) {
            (Answer::Snapshot(ours), Answer::Snapshot(theirs)) => {
                ours.incarnation == theirs.incarnation && ours.as_of > theirs.as_of
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
mod tests {
    use std::{thread, time::Duration};

    use bytes::Bytes;
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::{
        clock::Clock,
        model::{
            Generator, Parameters, Section, SectionSet, State, UserDataQuery, UserId,
            snapshot::{Part, SectionFacts},
        },
    };

    fn key(user: usize) -> CacheKey {
        UserDataQuery::new(UserId::parse(&user.to_string()).unwrap(), None, Parameters::none()).key().clone()
    }

    fn held(key: &CacheKey, bytes: usize, as_of_s: i64) -> Held {
        let as_of = DateTime::<Utc>::from_timestamp(as_of_s, 0).unwrap();
        let facts = SectionFacts {
            section: Section::Onboarding,
            state: State::Ok,
            generator: Generator::Database,
            read_at: as_of,
            took: Duration::ZERO,
            reason: String::new(),
            warnings: Vec::new(),
            detail: String::new(),
        };
        let part = Part { facts, tag: 0, bytes: vec![7; bytes].into(), rows: Bytes::new() };
        let snapshot = Snapshot::seal(key.clone(), "i".into(), as_of, as_of, vec![part]);
        let now = Clock::system().now();
        Held { answer: Answer::Snapshot(snapshot), until: now, renew_from: now, unread: None }
    }

    fn tier(max_entries: u64, max_bytes: u64) -> MemoryTier {
        MemoryTier::new(&config::Memory { max_entries, max_bytes, ..config::Memory::default() })
    }

    #[test]
    fn an_older_document_does_not_replace_a_newer_one() {
        let tier = tier(10, 1 << 20);
        tier.put(key(1), held(&key(1), 10, 200));
        tier.put(key(1), held(&key(1), 20, 100));
        let Answer::Snapshot(snapshot) = tier.get(&key(1)).unwrap().answer else { panic!("a document") };
        assert_eq!(snapshot.payload.len(), 10);
    }

    #[test]
    fn the_tier_is_bounded_by_count_and_by_weight() {
        let small = tier(100, 1 << 20);
        for user in 0..1000 {
            small.put(key(user), held(&key(user), 1, 1));
        }
        assert!(small.entries() <= 100, "{}", small.entries());

        let large = tier(10_000, 1 << 20);
        for user in 0..200 {
            large.put(key(user), held(&key(user), 50_000, 1));
        }
        assert!(large.bytes() <= 1 << 20 && large.entries() >= 10, "{} bytes", large.bytes());
    }

    #[test]
    fn removal_concerns_the_users_strategy_and_the_entry_without_one() {
        let tier = tier(10, 1 << 20);
        tier.put(key(1), held(&key(1), 1, 1));
        tier.put(key(2), held(&key(2), 1, 1));
        let strategy = crate::model::StrategyId::new(7);
        tier.remove(&Scope { user: UserId::parse("1").unwrap(), strategy, sections: SectionSet::ALL });
        assert!(tier.get(&key(1)).is_none());
        assert!(tier.get(&key(2)).is_some());
    }

    /// Exactly the pattern that crashes mini-moka when it is used as it comes.
    #[test]
    fn concurrent_writers_with_weights_keep_the_accounting_exact() {
        let tier = tier(500, 1 << 20);
        thread::scope(|scope| {
            for writer in 0..4_usize {
                let tier = &tier;
                scope.spawn(move || {
                    for round in 0..20_000_usize {
                        let user = (round * 31 + writer * 7) % 800;
                        match round % 10 {
                            0 => tier.remove(&Scope {
                                user: UserId::parse(&user.to_string()).unwrap(),
                                strategy: None,
                                sections: SectionSet::ALL,
                            }),
                            1..=4 => drop(tier.put(key(user), held(&key(user), round % 3000, 1))),
                            _ => {
                                if let Some(Held { answer: Answer::Snapshot(snapshot), .. }) = tier.get(&key(user)) {
                                    assert_eq!(snapshot.key, key(user));
                                }
                            }
                        }
                    }
                });
            }
        });
        let weigh = |held: &Held| u64::from(held.weight().max((1 << 20) / 500));
        let (count, bytes) =
            tier.cache.iter().fold((0, 0), |(count, bytes), entry| (count + 1, bytes + weigh(entry.value())));
        assert_eq!((tier.entries(), tier.bytes()), (count, bytes));
        tier.clear();
        assert_eq!((tier.entries(), tier.bytes()), (0, 0));
    }
}
