//! The keys of all users, as tiers use them: held in memory, else read from the key database, else made.
//!
//! A key database that fails costs each user the time limit until its circuit opens. Then stored values are misses,
//! nothing is stored, and documents in memory are served as before.

use std::{sync::Arc, time::Duration};

use sea_orm::DbErr;

use super::{
    context::ValueContext,
    error::KeyError,
    held_keys::HeldKeys,
    key_holder::KeyHolder,
    key_table::{KeyRow, KeyTable},
    master_keys::MasterKeys,
    user_key::{EncryptedValue, UserKey},
};
use crate::{
    circuit_breaker::{CircuitBreaker, Probing},
    clock::{Clock, Moment},
    config::PrivacySettings,
    database::Pool,
    model::{UserHash, UserId},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// As of the tiers: few, because each may cost a request the whole timeout.
const FAILURES_MAX: u32 = 3;
/// Between probes: a recovery is noticed well within 3 s.
const PAUSE: Duration = Duration::from_millis(500);
/// For a write, which no request waits for, or only one of an operator.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// A value by another key than the held one has the key read again at most so often: values restored from a backup may be
/// many.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Between two lines about keys that cannot be unwrapped.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Of a key that another instance deletes meanwhile.
const TRIES: u32 = 3;

#[derive(Debug)]
pub struct UserKeys {
    masters: MasterKeys,
    table: KeyTable,
    held: HeldKeys,
    breaker: CircuitBreaker,
    timeout: Duration,
    counts: Counts,
    told_at: Mutex<Option<Moment>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Counts {
    read: AtomicU64,
    made: AtomicU64,
    deleted: AtomicU64,
    failed: AtomicU64,
    unreadable: AtomicU64,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Keys read from the key database.
    pub read: u64,
    pub made: u64,
    pub deleted: u64,
    /// Look-ups that gave no key though there may be one.
    pub failed: u64,
    /// Values whose key is deleted, or that were changed or moved.
    pub unreadable: u64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl UserKeys {
    #[must_use]
    pub fn new(pool: Pool, masters: MasterKeys, config: &PrivacySettings, clock: Clock) -> Self {
        Self {
            masters,
            table: KeyTable::new(pool),
            held: HeldKeys::new(config.keys_cached_max, config.keys_cached_for, clock.clone()),
            breaker: CircuitBreaker::new("keys", Probing::InBackground, FAILURES_MAX, PAUSE, clock.clone()),
            timeout: config.timeout,
            counts: Counts::default(),
            told_at: Mutex::new(None),
            clock,
        }
    }

    /// The key to encrypt a user's values by. Makes one if there is none.
    pub async fn of(&self, user: &UserId) -> Result<Arc<UserKey>, KeyError> {
        let holder = KeyHolder::of(user);
        if let Some(held) = self.held.get(user, &holder) {
            return Ok(held.key);
        }
        for _ in 0..TRIES {
            if let Some(key) = self.read(user, holder).await? {
                return Ok(key);
            }
            let made = self.masters.wrap(&holder, &UserKey::random());
            if self.asked(WRITE_MAX, self.table.insert(&holder, &made)).await? {
                add(&self.counts.made);
            }
            // Order: read what is there. Another instance may have been first.
        }
        Err(KeyError::Timeout)
    }

    /// A user's value. None if its key is deleted, or if it is not what that key has encrypted in this context.
    pub async fn decrypt(&self, context: &ValueContext<'_>, encrypted: &[u8]) -> Result<Option<Vec<u8>>, KeyError> {
        let decrypted = match EncryptedValue::read(encrypted) {
            Some(value) => self.with_its_key(value, context).await?,
            None => None,
        };
        if decrypted.is_none() {
            add(&self.counts.unreadable);
        }
        Ok(decrypted)
    }

    async fn with_its_key(
        &self,
        value: EncryptedValue<'_>,
        context: &ValueContext<'_>,
    ) -> Result<Option<Vec<u8>>, KeyError> {
        let holder = KeyHolder::of(context.user);
        if let Some(held) = self.held.get(context.user, &holder) {
            if held.key.id == value.key {
                return Ok(value.decrypt(&held.key, context));
            }
            if self.held.age(&held) < READ_AGAIN_AFTER {
                return Ok(None);
            }
        }
        let key = self.read(context.user, holder).await?.filter(|key| key.id == value.key);
        Ok(key.and_then(|key| value.decrypt(&key, context)))
    }

    /// Deletes a user's key here and in the key database. Ignores the circuit breaker: an erasure has to be attempted.
    /// Other instances drop it when they apply the erasure.
    pub async fn delete(&self, user: &UserId) -> Result<(), KeyError> {
        let holder = KeyHolder::of(user);
        let deleted = within(WRITE_MAX, self.table.delete(&holder)).await;
        self.forget(UserHash::of(user));
        if deleted.inspect_err(|_| add(&self.counts.failed))? {
            add(&self.counts.deleted);
        }
        Ok(())
    }

    /// Drops a user's key from memory, because another instance has erased the user.
    pub fn forget(&self, user: UserHash) {
        self.held.drop_key(user);
    }

    /// Drops all keys from memory, because erasures may be unknown here.
    pub fn forget_all(&self) {
        self.held.drop_all();
    }

    /// Drops keys whose time in memory is over, and probes an open circuit if its pause is over.
    pub async fn probe(&self) {
        self.held.drop_ended();
        if self.breaker.start_probe() {
            self.report(&within(self.timeout, self.table.ping()).await);
        }
    }

    /// The state of the circuit.
    #[must_use]
    pub fn state(&self) -> &'static str {
        self.breaker.state()
    }

    /// Keys in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.count()
    }

    #[must_use]
    pub fn counts(&self) -> KeyCounts {
        let Counts { read, made, deleted, failed, unreadable } = &self.counts;
        let [read, made, deleted, failed, unreadable] =
            [read, made, deleted, failed, unreadable].map(|counter| counter.load(Ordering::Relaxed));
        KeyCounts { read, made, deleted, failed, unreadable }
    }

    async fn read(&self, user: &UserId, holder: KeyHolder) -> Result<Option<Arc<UserKey>>, KeyError> {
        let before = self.held.before_reading();
        let Some(row) = self.asked(self.timeout, self.table.find(&holder)).await? else { return Ok(None) };
        add(&self.counts.read);
        let key = Arc::new(self.unwrap(&holder, &row)?);
        self.held.hold(user, holder, &key, before);
        Ok(Some(key))
    }

    fn unwrap(&self, holder: &KeyHolder, row: &KeyRow) -> Result<UserKey, KeyError> {
        self.masters.unwrap(holder, row).inspect_err(|error| {
            add(&self.counts.failed);
            let now = self.clock.now();
            let mut told_at = self.told_at.lock();
            if told_at.is_none_or(|told_at| now.since(told_at) >= TOLD_EVERY) {
                *told_at = Some(now);
                tracing::error!(%error, "the stored values of some users cannot be read, and theirs are not stored");
            }
        })
    }

    async fn asked<T>(
        &self,
        limit: Duration,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, KeyError> {
        if !self.breaker.is_closed() {
            return Err(KeyError::Open);
        }
        let answer = within(limit, statement).await;
        self.report(&answer);
        answer
    }

    fn report<T>(&self, answer: &Result<T, KeyError>) {
        match answer {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => {
                add(&self.counts.failed);
                self.breaker.failed(&error.line());
            }
        }
    }
}

async fn within<T>(limit: Duration, statement: impl Future<Output = Result<T, DbErr>>) -> Result<T, KeyError> {
    match tokio::time::timeout(limit, statement).await {
        Ok(answer) => answer.map_err(|error| KeyError::Database(Arc::new(error))),
        Err(_) => Err(KeyError::Timeout),
    }
}

#[cfg(test)]
mod tests;
