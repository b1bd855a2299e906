//! Keys in memory, for a while. An erased user's key is dropped when this instance applies the erasure.
//!
//! Invariant: a key that was being read while its user was erased is not held. Otherwise this instance would go on
//! encrypting by a key that no other one can find.

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;

use super::{key_holder::KeyHolder, user_key::UserKey};
use crate::{
    clock::{Clock, Moment},
    model::{UserHash, UserId},
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Debug)]
pub(super) struct HeldKeys {
    /// By the hash that the invalidation log names erased users by. Two users may have one: then one of both is held.
    keys: Cache<UserHash, HeldKey>,
    /// How often keys were dropped.
    drops: AtomicU64,
    life: Duration,
    clock: Clock,
}

#[derive(Clone, Debug)]
pub(super) struct HeldKey {
    pub(super) key: Arc<UserKey>,
    holder: KeyHolder,
    read_at: Moment,
}

/// Taken before a key is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct BeforeReading {
    drops: u64,
    at: Moment,
}

impl HeldKeys {
    pub(super) fn new(keys_max: usize, life: Duration, clock: Clock) -> Self {
        Self { keys: Cache::new(keys_max), drops: AtomicU64::new(0), life, clock }
    }

    pub(super) fn get(&self, user: &UserId, holder: &KeyHolder) -> Option<HeldKey> {
        let hash = UserHash::of(user);
        let held = self.keys.get(&hash)?;
        if self.has_ended(&held) {
            self.keys.remove(&hash);
            return None;
        }
        Some(held).filter(|held| held.holder == *holder)
    }

    fn has_ended(&self, held: &HeldKey) -> bool {
        self.clock.now().since(held.read_at) >= self.life
    }

    /// How long ago a held key was read.
    pub(super) fn age(&self, held: &HeldKey) -> Duration {
        self.clock.now().since(held.read_at)
    }

    pub(super) fn before_reading(&self) -> BeforeReading {
        BeforeReading { drops: self.drops.load(Ordering::SeqCst), at: self.clock.now() }
    }

    /// Holds a key, unless any were dropped while it was read.
    pub(super) fn hold(&self, user: &UserId, holder: KeyHolder, key: &Arc<UserKey>, before: BeforeReading) {
        let hash = UserHash::of(user);
        self.keys.insert(hash, HeldKey { key: Arc::clone(key), holder, read_at: before.at });
        // Order: after the insertion. A drop counts first and removes then, so one of the two removes the key.
        if self.drops.load(Ordering::SeqCst) != before.drops {
            self.keys.remove(&hash);
        }
    }

    pub(super) fn drop_key(&self, user: UserHash) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.keys.remove(&user);
    }

    pub(super) fn drop_all(&self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.keys.clear();
    }

    /// Drops those whose time is over: without a use, none would be.
    pub(super) fn drop_ended(&self) {
        self.keys.retain(|_, held| !self.has_ended(held));
    }

    pub(super) fn count(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(clock: &Clock) -> HeldKeys {
        HeldKeys::new(100, Duration::from_secs(60), clock.clone())
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn hold(keys: &HeldKeys, user: &UserId, key: &Arc<UserKey>, before: BeforeReading) {
        keys.hold(user, KeyHolder::of(user), key, before);
    }

    fn has(keys: &HeldKeys, user: &UserId) -> bool {
        keys.get(user, &KeyHolder::of(user)).is_some()
    }

    #[test]
    fn a_key_is_held_for_its_time_and_until_its_user_is_erased() {
        let (clock, key) = (Clock::system(), Arc::new(UserKey::random()));
        let keys = held(&clock);
        let (one, other) = (user("1"), user("2"));
        for user in [&one, &other] {
            hold(&keys, user, &key, keys.before_reading());
        }
        keys.drop_key(UserHash::of(&one));
        assert!(!has(&keys, &one) && has(&keys, &other));
        clock.advance(Duration::from_secs(61));
        keys.drop_ended();
        assert_eq!(keys.count(), 0);
        hold(&keys, &one, &key, keys.before_reading());
        keys.drop_all();
        assert_eq!(keys.count(), 0);
    }

    #[test]
    fn a_key_that_was_read_while_its_user_was_erased_is_not_held() {
        let (key, user) = (Arc::new(UserKey::random()), user("1"));
        let keys = held(&Clock::system());
        let before = keys.before_reading();
        keys.drop_key(UserHash::of(&user));
        hold(&keys, &user, &key, before);
        assert!(!has(&keys, &user));
    }

    #[test]
    fn of_two_users_with_one_hash_neither_gets_the_others_key() {
        let (key, user) = (Arc::new(UserKey::random()), user("1"));
        let keys = held(&Clock::system());
        keys.hold(&user, KeyHolder::of_text("of the same hash"), &key, keys.before_reading());
        assert!(!has(&keys, &user));
    }

    #[test]
    fn no_more_keys_are_held_than_the_limit() {
        let keys = held(&Clock::system());
        let key = Arc::new(UserKey::random());
        for number in 0..1000 {
            hold(&keys, &user(&number.to_string()), &key, keys.before_reading());
        }
        assert!(keys.count() <= 100, "{}", keys.count());
    }
}
