//! What the tiers have of a document, judged by the invalidation log.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::{Instrument as _, Span, field::Empty, info_span};

use super::{
    error::TierError,
    fallback::Fallback,
    memory::{MemoryEntry, MemoryValue},
};
use crate::{
    cache::{invalidation_log::LogValidity, load::Loader},
    model::{CacheKey, SectionSet, Snapshot, Tier},
    mutant::{self, Mutant},
};

/// A snapshot that a tier had, and up to where it honours the log: the position that it was judged at, which is one of
/// its own log.
pub(in crate::cache) struct TierHit {
    pub(in crate::cache) snapshot: Snapshot,
    pub(in crate::cache) tier: Tier,
    pub(in crate::cache) position: i64,
}

/// What was found.
#[derive(Default)]
pub(in crate::cache) struct TierLookup {
    /// Can be served.
    pub(in crate::cache) fresh: Option<TierHit>,
    /// Cannot, but is of use.
    pub(in crate::cache) reserve: Fallback,
    /// What is left of a request's time for the cache's database; none if it could not be asked at all.
    pub(in crate::cache) database_left: Duration,
}

impl Loader {
    /// Looks into Redis, then into the table. With `newer_than`, a document has to have been assembled later than that
    /// to be fresh enough.
    pub(in crate::cache) async fn look_into_tiers(
        &self,
        key: &CacheKey,
        newer_than: Option<DateTime<Utc>>,
    ) -> TierLookup {
        let mut found = TierLookup::default();
        if self.invalidation_log.validity() == LogValidity::Expired {
            return found;
        }
        if let Some(redis) = &self.redis {
            let look = async {
                let read = redis.get(key).await;
                self.judge(&mut found, Tier::Redis, read, key, newer_than).await;
            };
            look.instrument(info_span!("lookup redis", outcome = Empty)).await;
        }
        let began = self.clock.now();
        if found.fresh.is_none() {
            let look = async {
                let read = self.database.get(key).await;
                self.judge(&mut found, Tier::Database, read, key, newer_than).await;
            };
            look.instrument(info_span!("lookup database", outcome = Empty)).await;
        }
        if found.fresh.is_none() {
            self.look_at_what_memory_held(&mut found, key);
        }
        found.database_left = self.config.database.timeout.saturating_sub(self.clock.now().since(began));
        found
    }

    /// A copy that memory does not serve is there when the database is not.
    fn look_at_what_memory_held(&self, found: &mut TierLookup, key: &CacheKey) {
        let Some(MemoryEntry { answer: MemoryValue::Snapshot(snapshot), .. }) = self.memory.get(key) else { return };
        if self.invalidation_log.view(key).can_judge(&snapshot) {
            self.keep_in_reserve(found, snapshot, Tier::Memory);
        }
    }

    async fn judge(
        &self,
        found: &mut TierLookup,
        tier: Tier,
        read: Result<Option<Snapshot>, TierError>,
        key: &CacheKey,
        newer_than: Option<DateTime<Utc>>,
    ) {
        let outcome = |outcome| {
            Span::current().record("outcome", outcome);
        };
        // A tier that fails is a miss; it has counted and logged its failure itself.
        let Ok(Some(snapshot)) = read else {
            outcome(if read.is_ok() { "miss" } else { "error" });
            return;
        };
        let figures = match (&self.redis, tier) {
            (Some(redis), Tier::Redis) => redis.figures(),
            _ => self.database.figures(),
        };
        let mut view = self.invalidation_log.view(key);
        if snapshot.epoch == view.epoch && !view.can_judge(&snapshot) && self.invalidation_log.catch_up().await.is_ok()
        {
            view = self.invalidation_log.view(key);
        }
        let is_trusted = tier == Tier::Redis && mutant::on(Mutant::TrustsRedis);
        let admitted = is_trusted || view.admits(&snapshot, SectionSet::ALL);
        let new_enough = newer_than.is_none_or(|than| snapshot.as_of > than);
        if admitted && new_enough && snapshot.expires_at > self.clock.utc() {
            outcome("hit");
            found.fresh = Some(TierHit { snapshot, tier, position: view.applied });
            return;
        }
        outcome(if admitted { "too_old" } else { "outdated" });
        figures.refused();
        if !admitted {
            self.counts.superseded.add(1);
        }
        if view.can_judge(&snapshot) {
            self.keep_in_reserve(found, snapshot, tier);
        }
    }

    fn keep_in_reserve(&self, found: &mut TierLookup, snapshot: Snapshot, tier: Tier) {
        found.reserve.add(snapshot, tier, self.config.database.stale_max, self.clock.utc());
    }
}
