//! What holds for either engine.

use std::{array, thread, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::*;
use crate::{
    clock::Clock,
    config::MemoryEngine,
    error::Missing,
    model::{
        Generator, Parameters, Section, SectionSet, Snapshot, State, StrategyId, UserDataQuery, UserId,
        snapshot::{Part, SectionFacts},
    },
};

fn key(user: usize) -> CacheKey {
    UserDataQuery::new(UserId::parse(&user.to_string()).unwrap(), None, Parameters::none()).key().clone()
}

fn held(key: &CacheKey, bytes: usize, as_of_s: i64) -> MemoryEntry {
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
    let part = Part { facts, read_position: 0, bytes: vec![7; bytes].into(), rows: Bytes::new() };
    let snapshot = Snapshot::seal(key.clone(), "i".into(), as_of, as_of, vec![part]);
    let now = Clock::system().now();
    MemoryEntry { value: MemoryValue::Snapshot(snapshot), until: now, refresh_ahead_from: now, unread: None }
}

const ENGINES: [MemoryEngine; 2] = [MemoryEngine::MiniMoka, MemoryEngine::QuickCache];

fn unknown() -> MemoryEntry {
    let now = Clock::system().now();
    let value = MemoryValue::NotFound { what: Missing::User, epoch: "i".into(), read_position: 0 };
    MemoryEntry { value, until: now, refresh_ahead_from: now, unread: None }
}

fn tier(engine: MemoryEngine, max_entries: u64, max_bytes: u64) -> MemoryTier {
    MemoryTier::new(&config::MemorySettings { engine, max_entries, max_bytes, ..config::MemorySettings::default() })
}

fn of_user(user: usize) -> Scope {
    Scope { user: UserId::parse(&user.to_string()).unwrap(), strategy: None, sections: SectionSet::ALL }
}

#[test]
fn an_older_document_does_not_replace_a_newer_one() {
    for engine in ENGINES {
        let tier = tier(engine, 10, 1 << 20);
        assert!(tier.put(key(1), held(&key(1), 10, 200)));
        assert!(!tier.put(key(1), held(&key(1), 20, 100)));
        assert_eq!(of(&tier.get(&key(1)).unwrap()).payload.len(), 10, "{engine:?}");
    }
}

#[test]
fn no_more_documents_are_held_than_allowed() {
    // More entries than bytes, as many as shares go into the bytes, and not quite as many.
    for (engine, max_entries) in ENGINES.into_iter().flat_map(|engine| [1, 100, 101, 800].map(|max| (engine, max))) {
        let documents = tier(engine, max_entries, 64 << 20);
        let unknowns = tier(engine, max_entries, 64 << 20);
        for user in 0..1000 {
            documents.put(key(user), held(&key(user), 1, 1));
            unknowns.put(key(user), unknown());
        }
        for tier in [documents, unknowns] {
            let entries = tier.entries();
            // Shards fill unevenly.
            assert!(
                entries <= max_entries && entries >= max_entries * 9 / 10,
                "{engine:?}: {entries} of {max_entries}"
            );
            assert_eq!(entries + tier.evictions(), 1000, "{engine:?}");
        }
    }
}

#[test]
fn no_more_bytes_are_held_than_allowed() {
    // With the most entries that may be configured nothing has a share worth mentioning.
    for (engine, max_entries) in ENGINES.into_iter().flat_map(|engine| [10_000, 10_000_000].map(|max| (engine, max))) {
        let documents = tier(engine, max_entries, 1 << 20);
        let unknowns = tier(engine, max_entries, 1 << 20);
        for user in 0..3000 {
            documents.put(key(user), held(&key(user), 50_000, 1));
            unknowns.put(key(user), unknown());
        }
        assert!(documents.entries() >= 15 && documents.bytes() <= 1 << 20, "{engine:?}: {documents:?}");
        assert!(unknowns.entries() >= 1500 && unknowns.bytes() <= 1 << 20, "{engine:?}: {unknowns:?}");
        assert_eq!(documents.entries() + documents.evictions(), 3000, "{engine:?}");
    }
}

#[test]
fn one_document_of_four_mebibytes_fits_beside_others() {
    for engine in ENGINES {
        let tier = tier(engine, 10_000, 256 << 20);
        tier.put(key(1), held(&key(1), 4 << 20, 1));
        tier.put(key(2), held(&key(2), 1, 1));
        assert!(tier.get(&key(1)).is_some() && tier.get(&key(2)).is_some(), "{engine:?}");
        assert_eq!(tier.evictions(), 0, "{engine:?}");
    }
}

#[test]
fn a_document_that_cannot_fit_is_counted_as_pushed_out() {
    for engine in ENGINES {
        let tier = tier(engine, 10, 1 << 20);
        tier.put(key(1), held(&key(1), 2 << 20, 1));
        assert_eq!((tier.entries(), tier.bytes(), tier.evictions()), (0, 0, 1), "{engine:?}");
    }
}

#[test]
fn removal_concerns_the_users_strategy_and_the_entry_without_one() {
    for engine in ENGINES {
        let tier = tier(engine, 10, 1 << 20);
        tier.put(key(1), held(&key(1), 1, 1));
        tier.put(key(2), held(&key(2), 1, 1));
        tier.remove(&Scope { strategy: StrategyId::new(7), ..of_user(1) });
        assert!(tier.get(&key(1)).is_none(), "{engine:?}");
        assert!(tier.get(&key(2)).is_some(), "{engine:?}");
        assert_eq!((tier.entries(), tier.evictions()), (1, 0), "{engine:?}");
    }
}

/// Exactly the pattern that crashes mini-moka when it is used as it comes: overwriting and removing values of different
/// weights by several threads, some of which read.
#[test]
fn four_threads_that_overwrite_and_remove_leave_the_accounting_exact() {
    const USERS: usize = 800;
    const ROUNDS: usize = 20_000;
    const MAX: (u64, u64) = (500, 1 << 20);
    let keys: [CacheKey; USERS] = array::from_fn(key);
    for engine in ENGINES {
        let tier = tier(engine, MAX.0, MAX.1);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (tier, keys) = (&tier, &keys);
                scope.spawn(move || hammer(tier, keys, thread, ROUNDS));
            }
        });
        let (weight, all) = (engine::Weight::bounding(MAX.0, MAX.1), tier.engine.all());
        for (key, held) in &all {
            assert_eq!(&of(held).key, key, "{engine:?}");
        }
        let bytes = all.iter().map(|(_, held)| u64::from(weight.of(held))).sum();
        assert_eq!((tier.entries(), tier.bytes()), (u64::try_from(all.len()).unwrap(), bytes), "{engine:?}");
        assert!(tier.entries() > 0 && tier.entries() <= MAX.0 && tier.bytes() <= MAX.1, "{engine:?}: {tier:?}");
        assert!(tier.evictions() > 0, "{engine:?}");
        tier.clear();
        assert_eq!((tier.entries(), tier.bytes()), (0, 0), "{engine:?}");
    }
}

/// Four in ten steps write, one removes, five read. What is read is always of the user who was asked for.
fn hammer(tier: &MemoryTier, keys: &[CacheKey], thread: usize, rounds: usize) {
    for round in 0..rounds {
        let user = (round * 31 + thread * 7) % keys.len();
        let key = &keys[user];
        match round % 10 {
            0 => tier.remove(&of_user(user)),
            // Some too large for the tier, so that they are not let in.
            1..=4 => {
                let bytes = if round % 1000 == 1 { 2 << 20 } else { round % 9000 };
                tier.put(key.clone(), held(key, bytes, 1));
            }
            _ => {
                if let Some(held) = tier.get(key) {
                    assert_eq!(of(&held).key, *key);
                }
            }
        }
    }
}

fn of(held: &MemoryEntry) -> &Snapshot {
    match &held.value {
        MemoryValue::Snapshot(snapshot) => snapshot,
        MemoryValue::NotFound { .. } => panic!("a document"),
    }
}

#[test]
fn after_the_wall_clock_stepped_back_the_position_in_the_log_decides() {
    const DAY: i64 = 86_400;
    let read_at = |position, as_of_s| {
        let mut entry = held(&key(1), 10, as_of_s);
        if let MemoryValue::Snapshot(snapshot) = &entry.value {
            let mut part = snapshot.part(Section::Onboarding).unwrap();
            part.read_position = position;
            let (as_of, expires_at) = (snapshot.as_of, snapshot.expires_at);
            entry.value = MemoryValue::Snapshot(Snapshot::seal(key(1), "i".into(), as_of, expires_at, vec![part]));
        }
        entry
    };
    for (engine, step) in ENGINES.into_iter().flat_map(|engine| [(engine, 20), (engine, DAY)]) {
        let tier = tier(engine, 10, 1 << 20);
        assert!(tier.put(key(1), read_at(5, 2 * DAY)));
        assert!(tier.put(key(1), read_at(6, 2 * DAY - step)), "{engine:?} {step}: it was read after an invalidation");
        assert!(!tier.put(key(1), read_at(6, 2 * DAY - step - 1)), "the older one of equal positions");
        assert!(!tier.put(key(1), read_at(5, 2 * DAY)));
        assert!(tier.put_unless(key(1), read_at(6, 1), |_| false), "one that cannot be served stands in no way");
    }
}
