//! Who reads what here, and which changes have come to that: what is due to be assembled again, and when.
//!
//! Everything happens to one document at a time: it is read; it changes, and changes more; when that has been quiet for
//! a while it is dealt with; then it is read, or changes again unread. The last two are what the forecast learns from.

use std::collections::{HashMap, HashSet};

use super::forecast::{Changes, Forecast};
use crate::{
    clock::Moment,
    config,
    model::{CacheKey, Scope, SectionSet, UserDataQuery, UserId},
};

/// Documents at most; beyond it the half that was read longest ago is forgotten. As many as memory holds by default,
/// with some 600 bytes each.
const DOCUMENTS_MAX: usize = 10_000;
/// Of one user at most: strategies, and parameters, of which a caller may make up any number.
const OF_ONE_USER_MAX: usize = 8;

/// The documents that were read here.
#[derive(Debug, Default)]
pub(super) struct Readers {
    users: HashMap<UserId, Vec<Document>>,
    documents: usize,
    /// Those with a change that has not been dealt with.
    changed: HashSet<CacheKey>,
    forecast: Forecast,
}

#[derive(Debug)]
struct Document {
    query: UserDataQuery,
    /// By the first one who read it since it was put into memory; those after him are not asked to say so.
    read_at: Moment,
    /// Changes that wait to be dealt with.
    change: Option<Change>,
    /// The last ones that were, until the next.
    dealt_with: Option<DealtWith>,
    /// Assembled in a row, and read by nobody.
    unread: u32,
}

#[derive(Clone, Debug)]
struct Change {
    changes: Changes,
    first: Moment,
    last: Moment,
    was_read: bool,
}

#[derive(Clone, Debug)]
struct DealtWith {
    changes: Changes,
    was_read: bool,
    ahead: bool,
}

/// A document whose changes are to be dealt with.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) query: UserDataQuery,
    pub(super) changes: Changes,
    /// Whether it cannot be put off any longer.
    pub(super) at_last: bool,
    /// The share of such changes that were read before the next one.
    pub(super) likely: f64,
    /// Assembled in a row, and read by nobody.
    pub(super) unread: u32,
}

impl Readers {
    /// Somebody has read it. True: it was assembled ahead, and he is the first.
    pub(super) fn read(&mut self, query: &UserDataQuery, now: Moment) -> bool {
        let Some(document) = self.document(query.key()) else {
            self.add(query, now);
            return false;
        };
        (document.read_at, document.unread) = (now, 0);
        if let Some(change) = &mut document.change {
            change.was_read = true;
            return false;
        }
        let Some(dealt_with) = &mut document.dealt_with else { return false };
        let is_first = !std::mem::replace(&mut dealt_with.was_read, true);
        is_first && dealt_with.ahead
    }

    /// Something has changed.
    pub(super) fn change(&mut self, scope: &Scope, now: Moment) {
        if scope.sections == SectionSet::ERASED {
            self.forget(&scope.user);
            return;
        }
        let Self { users, changed, forecast, .. } = self;
        let concerned = |document: &&mut Document| {
            let asked = document.query.strategy;
            scope.strategy.is_none() || asked.is_none() || asked == scope.strategy
        };
        for document in users.get_mut(&scope.user).into_iter().flatten().filter(concerned) {
            if let Some(DealtWith { changes, was_read, .. }) = document.dealt_with.take() {
                forecast.learn(&changes, was_read);
            }
            let new = Change { changes: Changes::default(), first: now, last: now, was_read: false };
            let change = document.change.get_or_insert(new);
            change.changes.add(scope.sections);
            change.last = now;
            changed.insert(document.query.key().clone());
        }
    }

    /// What has been quiet for long enough, or not quiet for too long.
    pub(super) fn due(&self, config: &config::Reassembly, now: Moment) -> Vec<Due> {
        let due = |key: &CacheKey| {
            let document = self.users.get(&key.user)?.iter().find(|document| document.query.key() == key)?;
            let Change { changes, first, last, .. } = document.change.as_ref()?;
            let at_last = now >= first.after(config.delay_max);
            let quiet = now >= last.after(config.quiet);
            (at_last || quiet).then(|| Due {
                query: document.query.clone(),
                changes: changes.clone(),
                at_last,
                likely: self.forecast.of(changes),
                unread: document.unread,
            })
        };
        self.changed.iter().filter_map(due).collect()
    }

    /// Its changes are dealt with, without assembling it.
    pub(super) fn leave(&mut self, key: &CacheKey) {
        self.changed.remove(key);
        let Some(document) = self.document(key) else { return };
        let Some(Change { changes, was_read, .. }) = document.change.take() else { return };
        document.dealt_with = Some(DealtWith { changes, was_read, ahead: false });
    }

    /// Its changes are dealt with, by assembling it.
    pub(super) fn assemble(&mut self, key: &CacheKey) {
        self.leave(key);
        let Some(document) = self.document(key) else { return };
        document.unread += 1;
        if let Some(dealt_with) = &mut document.dealt_with {
            dealt_with.ahead = true;
        }
    }

    /// It could not be assembled after all.
    pub(super) fn withdraw(&mut self, key: &CacheKey) {
        if let Some(document) = self.document(key) {
            document.unread = document.unread.saturating_sub(1);
            if let Some(dealt_with) = &mut document.dealt_with {
                dealt_with.ahead = false;
            }
        }
    }

    /// Nothing of this user is read any more.
    pub(super) fn forget(&mut self, user: &UserId) {
        self.documents -= self.users.remove(user).map_or(0, |gone| gone.len());
        self.changed.retain(|key| key.user != *user);
    }

    fn document(&mut self, key: &CacheKey) -> Option<&mut Document> {
        self.users.get_mut(&key.user)?.iter_mut().find(|document| document.query.key() == key)
    }

    fn add(&mut self, query: &UserDataQuery, now: Moment) {
        if self.documents >= DOCUMENTS_MAX {
            self.forget_half();
        }
        let of_user = self.users.entry(query.user.clone()).or_default();
        if of_user.len() >= OF_ONE_USER_MAX {
            return;
        }
        self.documents += 1;
        of_user.push(Document { query: query.clone(), read_at: now, change: None, dealt_with: None, unread: 0 });
    }

    /// Those that were read longest ago.
    fn forget_half(&mut self) {
        let mut times: Vec<Moment> = self.users.values().flatten().map(|document| document.read_at).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.users.retain(|_, documents| {
            documents.retain(|document| document.read_at > median);
            !documents.is_empty()
        });
        self.documents = self.users.values().map(Vec::len).sum();
        let Self { users, changed, .. } = self;
        changed.retain(|key| users.get(&key.user).is_some_and(|of| of.iter().any(|one| one.query.key() == key)));
    }
}

#[cfg(test)]
mod tests;
