//! Which users any instance has erased a short while ago, so that nothing made from their data is remembered afterwards.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{InvalidationLog, row::LogRow};
use crate::{
    aggregate::ai_analysis::Erasures,
    clock::Moment,
    model::{Invalidation, SectionSet, UserHash, UserId},
    privacy::UserKeys,
};

/// A call to a model begins so long after its input was read, at most: a load ends before that.
const READ_BEFORE: Duration = Duration::from_secs(30);
/// No call lasts nearly as long.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Beyond it, everyone counts as erased for a while.
const KEPT_MAX: usize = 10_000;

/// When each erasure was applied here.
#[derive(Debug, Default)]
pub(super) struct RecentErasures {
    users: HashMap<UserHash, Moment>,
    /// Until then erasures may be missing from `users`.
    unknown_until: Option<Moment>,
    /// Where the keys of erased users are dropped. None: nothing is encrypted.
    keys: Option<Arc<UserKeys>>,
}

impl RecentErasures {
    pub(super) fn drop_keys_from(&mut self, keys: Arc<UserKeys>) {
        self.keys = Some(keys);
    }

    /// Notes the erasures among entries that are applied now.
    pub(super) fn note(&mut self, rows: &[LogRow], now: Moment) {
        for row in rows {
            if let Invalidation::Of(scope) = &row.invalidation
                && scope.sections == SectionSet::ERASED
            {
                self.users.insert(scope.user, now);
                if let Some(keys) = &self.keys {
                    keys.forget(scope.user);
                }
            }
        }
        if self.users.len() > KEPT_MAX {
            self.users.retain(|_, at| now.since(*at) < KEPT_FOR);
        }
        if self.users.len() > KEPT_MAX {
            self.users.clear();
            self.miss(now);
        }
    }

    /// Entries up to now were not read.
    pub(super) fn miss(&mut self, now: Moment) {
        self.unknown_until = Some(now);
        if let Some(keys) = &self.keys {
            keys.forget_all();
        }
    }

    fn may_have(&self, user: UserHash, since: Moment) -> bool {
        let is_late = |at: &Moment| at.after(READ_BEFORE) >= since;
        self.users.get(&user).is_some_and(is_late) || self.unknown_until.as_ref().is_some_and(is_late)
    }
}

impl Erasures for InvalidationLog {
    fn may_be_erased_since<'a>(&'a self, user: &'a UserId, since: Moment) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            // What cannot be known is not remembered.
            self.catch_up().await.is_err() || self.erasures.lock().may_have(UserHash::of(user), since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, model::Scope};

    #[test]
    fn an_erasure_counts_from_before_the_call_on() {
        let user = |name: &str| UserHash::of(&UserId::parse(name).unwrap());
        let row = |name: &str, sections| LogRow {
            position: 1,
            invalidation: Invalidation::Of(Scope { user: user(name), strategy: None, sections }),
            nonce: 0,
        };
        let now = Clock::system().now();
        let mut erasures = RecentErasures::default();
        erasures.note(&[row("erased", SectionSet::ERASED), row("changed", SectionSet::ALL)], now);
        for (name, later, may_be) in [
            ("erased", 0, true),
            ("erased", 29, true),
            ("erased", 31, false),
            ("changed", 0, false),
            ("other", 0, false),
        ] {
            let since = now.after(Duration::from_secs(later));
            assert_eq!(erasures.may_have(user(name), since), may_be, "{name} {later}");
        }
        erasures.miss(now);
        assert!(erasures.may_have(user("other"), now));
    }
}
