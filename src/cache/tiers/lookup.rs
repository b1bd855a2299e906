//! What Redis and the cache table hold of a document, judged by the invalidation log.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tracing::{Instrument as _, Span, field::Empty, info_span};

use super::{
    Tiers,
    error::TierError,
    fallback::Fallback,
    memory::{MemoryEntry, MemoryValue},
};
use crate::{
    cache::{
        invalidation_log::{LogValidity, LogView},
        watched_files::log_epoch,
    },
    model::{CacheKey, SectionSet, Snapshot, Tier},
    mutant::{self, Mutant},
};

/// A valid snapshot from a tier.
pub(in crate::cache) struct TierHit {
    pub(in crate::cache) snapshot: Snapshot,
    pub(in crate::cache) tier: Tier,
    /// The position of its log up to which the snapshot honours every invalidation.
    pub(in crate::cache) position: i64,
}

/// Where a snapshot was found.
enum FoundIn {
    /// With the epoch of the log whose witness was compared before.
    Redis(Arc<str>),
    Table,
}

/// The result of a lookup.
#[derive(Default)]
pub(in crate::cache) struct TierLookup {
    pub(in crate::cache) hit: Option<TierHit>,
    /// Snapshots that cannot be served as they are.
    pub(in crate::cache) fallback: Fallback,
    /// The rest of a request's time for the cache's database; zero if the lookup skipped it.
    pub(in crate::cache) database_left: Duration,
}

impl FoundIn {
    fn tier(&self) -> Tier {
        match self {
            Self::Redis(_) => Tier::Redis,
            Self::Table => Tier::Database,
        }
    }

    /// Whether the log by which it is judged has what its witness names.
    fn is_witnessed(&self, view: &LogView) -> bool {
        match self {
            Self::Redis(epoch) => *log_epoch(&view.epoch) == **epoch,
            Self::Table => true,
        }
    }
}

impl Tiers {
    /// Looks into Redis, then into the table. With `newer_than`, only a snapshot assembled later is a hit.
    pub(in crate::cache) async fn lookup(&self, key: &CacheKey, newer_than: Option<DateTime<Utc>>) -> TierLookup {
        let mut found = TierLookup::default();
        if self.log.validity() == LogValidity::Expired {
            return found;
        }
        if let Some(redis) = &self.redis {
            let lookup = async {
                // Order: first the witness. The documents may be of a time that the database has lost.
                let Some(epoch) = self.log.witnessed_epoch().await else {
                    Span::current().record("outcome", "unwitnessed");
                    return;
                };
                let read = redis.get(key).await;
                self.judge(&mut found, FoundIn::Redis(epoch), read, key, newer_than).await;
            };
            lookup.instrument(info_span!("lookup redis", outcome = Empty)).await;
        }
        let began = self.clock.now();
        if found.hit.is_none() {
            let lookup = async {
                let read = self.database.get(key).await;
                self.judge(&mut found, FoundIn::Table, read, key, newer_than).await;
            };
            lookup.instrument(info_span!("lookup database", outcome = Empty)).await;
        }
        if found.hit.is_none() {
            self.add_expired_memory_entry(&mut found, key);
        }
        found.database_left = self.database_config.timeout.saturating_sub(self.clock.now().since(began));
        found
    }

    /// Whether memory holds the whole document, valid in all sections.
    pub(crate) fn has_in_memory(&self, key: &CacheKey) -> bool {
        let entry = self.memory.get(key).filter(|entry| self.clock.now() < entry.until);
        entry.is_some_and(|entry| match entry.value {
            MemoryValue::Snapshot(snapshot) => self.log.view(key).admits(&snapshot, SectionSet::ALL),
            MemoryValue::NotFound { .. } => false,
        })
    }

    /// Memory still has its copy when the database is down.
    fn add_expired_memory_entry(&self, found: &mut TierLookup, key: &CacheKey) {
        let Some(MemoryEntry { value: MemoryValue::Snapshot(snapshot), .. }) = self.memory.get(key) else { return };
        if self.log.view(key).can_judge(&snapshot) {
            self.add_fallback(found, snapshot, Tier::Memory);
        }
    }

    async fn judge(
        &self,
        found: &mut TierLookup,
        source: FoundIn,
        read: Result<Option<Snapshot>, TierError>,
        key: &CacheKey,
        newer_than: Option<DateTime<Utc>>,
    ) {
        let outcome = |outcome| {
            Span::current().record("outcome", outcome);
        };
        // A tier that fails is a miss; it counts and logs its own failure.
        let Ok(Some(snapshot)) = read else {
            outcome(if read.is_ok() { "miss" } else { "error" });
            return;
        };
        let tier = source.tier();
        let mut view = self.log.view(key);
        if snapshot.epoch == view.epoch && !view.can_judge(&snapshot) && self.log.catch_up().await.is_ok() {
            view = self.log.view(key);
            self.look_for_loss(&source, &snapshot, &view).await;
        }
        let is_trusted = tier == Tier::Redis && mutant::on(Mutant::TrustsRedis);
        let is_witnessed = source.is_witnessed(&view);
        let admitted = is_trusted || is_witnessed && view.admits(&snapshot, SectionSet::ALL);
        let is_new_enough = newer_than.is_none_or(|than| snapshot.as_of > than);
        if admitted && is_new_enough && snapshot.expires_at > self.clock.utc() {
            outcome("hit");
            found.hit = Some(TierHit { snapshot, tier, position: view.applied });
            return;
        }
        outcome(if admitted { "too_old" } else { "outdated" });
        match (&self.redis, tier) {
            (Some(redis), Tier::Redis) => redis.guard.metrics.refused(),
            _ => self.database.guard.metrics.refused(),
        }
        if !admitted {
            self.superseded.add(1);
        }
        if is_witnessed && view.can_judge(&snapshot) {
            self.add_fallback(found, snapshot, tier);
        }
    }

    /// A document in Redis that was read above the head is of a time that the database has lost. `view` is of after it was
    /// found.
    async fn look_for_loss(&self, source: &FoundIn, snapshot: &Snapshot, view: &LogView) {
        let position = snapshot.read_position_max();
        let is_above = snapshot.epoch == view.epoch && position > view.applied;
        if is_above
            && let FoundIn::Redis(epoch) = source
            && let Err(error) = self.log.has_lost(epoch, position).await
        {
            tracing::warn!(%error, "no new epoch could be started; the next lookup retries");
        }
    }

    fn add_fallback(&self, found: &mut TierLookup, snapshot: Snapshot, tier: Tier) {
        found.fallback.add(snapshot, tier, self.database_config.stale_if_error, self.clock.utc());
    }
}
