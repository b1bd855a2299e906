//! The mailbox from requests to the prefetch: which documents this instance reads, and which of their changes are due.
//!
//! One document goes through a cycle. A request reads it. It changes, perhaps several times. After a quiet period the
//! prefetch handles the change. Then a request reads the document again, or it changes unread. The forecast learns from
//! the last step.

mod forecast;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub(crate) use self::forecast::Changes;
use self::forecast::Forecast;
use super::counters::Counters;
use crate::{
    clock::{Clock, Moment},
    config,
    model::{CacheKey, Scope, SectionSet, UserDataQuery, UserHash, UserId},
    sync::Mutex,
};

/// Documents at most; beyond it the half with the oldest reads is dropped. The memory tier holds as many by default.
/// Each takes some 600 bytes.
const DOCUMENTS_MAX: usize = 10_000;
/// Documents of one user at most. Callers choose parameters freely, so a user may have any number of documents.
const OF_ONE_USER_MAX: usize = 8;

/// The documents that requests read here.
#[derive(Debug)]
pub(crate) struct Readers {
    enabled: bool,
    documents: Mutex<Documents>,
    counters: Arc<Counters>,
    clock: Clock,
}

impl Readers {
    pub(super) fn new(config: &config::PrefetchSettings, counters: Arc<Counters>, clock: Clock) -> Self {
        Self { enabled: config.enabled, documents: Mutex::default(), counters, clock }
    }

    /// A request read a document. Of several hits in memory, only the first one calls this.
    pub(super) fn read(&self, query: &UserDataQuery) {
        if self.enabled && self.documents.lock().read(query, self.clock.now()) {
            self.counters.prefetch.read.add(1);
        }
    }

    /// Drops all documents of a purged user.
    pub(super) fn forget(&self, user: &UserId) {
        self.documents.lock().forget(UserHash::of(user));
    }

    /// Notes changes, and returns the documents whose changes are due.
    pub(crate) fn changed(&self, scopes: &[Scope<UserHash>], config: &config::PrefetchSettings) -> Vec<Due> {
        let (mut documents, now) = (self.documents.lock(), self.clock.now());
        scopes.iter().for_each(|scope| documents.change(scope, now));
        documents.due(config, now)
    }

    /// A prefetch does not handle this change.
    pub(crate) fn skip(&self, key: &CacheKey) {
        self.documents.lock().skip(key);
    }

    /// A prefetch handles this change.
    pub(crate) fn prefetch(&self, key: &CacheKey) {
        self.documents.lock().prefetch(key);
    }

    /// The prefetch failed.
    pub(crate) fn withdraw(&self, key: &CacheKey) {
        self.documents.lock().withdraw(key);
    }
}

#[derive(Debug, Default)]
struct Documents {
    users: HashMap<UserHash, Vec<Document>>,
    count: usize,
    /// Documents with an unhandled change.
    changed: HashSet<CacheKey>,
    forecast: Forecast,
}

#[derive(Debug)]
struct Document {
    query: UserDataQuery,
    /// When the first request read it since it was put into memory; later hits do not report themselves.
    read_at: Moment,
    /// Changes since the last handled one.
    pending: Option<PendingChange>,
    /// The last handled change, until the next change.
    handled: Option<HandledChange>,
    /// Prefetches in a row that no request read.
    unread: u32,
}

#[derive(Clone, Debug)]
struct PendingChange {
    changes: Changes,
    first: Moment,
    last: Moment,
    was_read: bool,
}

#[derive(Clone, Debug)]
struct HandledChange {
    changes: Changes,
    was_read: bool,
    was_prefetched: bool,
}

/// A document whose change is due.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) query: UserDataQuery,
    pub(crate) changes: Changes,
    /// The change cannot be put off any longer.
    pub(crate) is_last_chance: bool,
    /// The share of such changes that requests read before the next one.
    pub(crate) likely: f64,
    /// Prefetches in a row that no request read.
    pub(crate) unread: u32,
}

impl Documents {
    /// Returns true for the first read of a prefetched document.
    fn read(&mut self, query: &UserDataQuery, now: Moment) -> bool {
        let Some(document) = self.document(query.key()) else {
            self.add(query, now);
            return false;
        };
        (document.read_at, document.unread) = (now, 0);
        if let Some(pending) = &mut document.pending {
            pending.was_read = true;
            return false;
        }
        let Some(handled) = &mut document.handled else { return false };
        let is_first = !std::mem::replace(&mut handled.was_read, true);
        is_first && handled.was_prefetched
    }

    fn change(&mut self, scope: &Scope<UserHash>, now: Moment) {
        if scope.sections == SectionSet::ERASED {
            self.forget(scope.user);
            return;
        }
        let Self { users, changed, forecast, .. } = self;
        let in_scope = |document: &&mut Document| {
            let strategy = document.query.strategy;
            scope.strategy.is_none() || strategy.is_none() || strategy == scope.strategy
        };
        for document in users.get_mut(&scope.user).into_iter().flatten().filter(in_scope) {
            if let Some(HandledChange { changes, was_read, .. }) = document.handled.take() {
                forecast.learn(&changes, was_read);
            }
            let new = PendingChange { changes: Changes::default(), first: now, last: now, was_read: false };
            let pending = document.pending.get_or_insert(new);
            pending.changes.add(scope.sections);
            pending.last = now;
            changed.insert(document.query.key().clone());
        }
    }

    /// The documents whose changes have been quiet long enough, or have waited too long.
    fn due(&self, config: &config::PrefetchSettings, now: Moment) -> Vec<Due> {
        let due = |key: &CacheKey| {
            let document =
                self.users.get(&UserHash::of(&key.user))?.iter().find(|document| document.query.key() == key)?;
            let PendingChange { changes, first, last, .. } = document.pending.as_ref()?;
            let is_last_chance = now >= first.after(config.delay_max);
            let is_quiet = now >= last.after(config.quiet);
            (is_last_chance || is_quiet).then(|| Due {
                query: document.query.clone(),
                changes: changes.clone(),
                is_last_chance,
                likely: self.forecast.of(changes),
                unread: document.unread,
            })
        };
        self.changed.iter().filter_map(due).collect()
    }

    fn skip(&mut self, key: &CacheKey) {
        self.changed.remove(key);
        let Some(document) = self.document(key) else { return };
        let Some(PendingChange { changes, was_read, .. }) = document.pending.take() else { return };
        document.handled = Some(HandledChange { changes, was_read, was_prefetched: false });
    }

    fn prefetch(&mut self, key: &CacheKey) {
        self.skip(key);
        let Some(document) = self.document(key) else { return };
        document.unread += 1;
        if let Some(handled) = &mut document.handled {
            handled.was_prefetched = true;
        }
    }

    fn withdraw(&mut self, key: &CacheKey) {
        if let Some(document) = self.document(key) {
            document.unread = document.unread.saturating_sub(1);
            if let Some(handled) = &mut document.handled {
                handled.was_prefetched = false;
            }
        }
    }

    fn forget(&mut self, user: UserHash) {
        self.count -= self.users.remove(&user).map_or(0, |removed| removed.len());
        self.changed.retain(|key| UserHash::of(&key.user) != user);
    }

    fn document(&mut self, key: &CacheKey) -> Option<&mut Document> {
        self.users.get_mut(&UserHash::of(&key.user))?.iter_mut().find(|document| document.query.key() == key)
    }

    fn add(&mut self, query: &UserDataQuery, now: Moment) {
        if self.count >= DOCUMENTS_MAX {
            self.forget_half();
        }
        let of_user = self.users.entry(UserHash::of(&query.user)).or_default();
        if of_user.len() >= OF_ONE_USER_MAX {
            return;
        }
        self.count += 1;
        of_user.push(Document { query: query.clone(), read_at: now, pending: None, handled: None, unread: 0 });
    }

    /// Drops the documents with the oldest reads.
    fn forget_half(&mut self) {
        let mut times: Vec<Moment> = self.users.values().flatten().map(|document| document.read_at).collect();
        let middle = times.len() / 2;
        let median = *times.select_nth_unstable(middle).1;
        self.users.retain(|_, documents| {
            documents.retain(|document| document.read_at > median);
            !documents.is_empty()
        });
        self.count = self.users.values().map(Vec::len).sum();
        let Self { users, changed, .. } = self;
        changed.retain(|key| {
            users.get(&UserHash::of(&key.user)).is_some_and(|of| of.iter().any(|one| one.query.key() == key))
        });
    }
}

#[cfg(test)]
mod tests;
