//! Where a loaded document goes, and how copies are dropped.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tracing::{Instrument as _, field::Empty, info_span};

use super::{
    Tiers,
    error::TierError,
    memory::{MemoryEntry, MemoryValue, Unread},
    tier_metrics::WriteOutcome,
};
use crate::{
    aggregate::ai_analysis::AiAnalysis,
    cache::invalidation_log::{LogValidity, LogView},
    error::{Error, Missing, Unavailable},
    fault::FaultPoint,
    lease::Lease,
    model::{CacheKey, Scope, SectionSet, Snapshot, Tier},
    mutant::{self, Mutant},
    privacy::UserKey,
    telemetry::trace,
};

impl Tiers {
    /// Keeps a snapshot in memory until it expires, unless it is outdated or would replace a complete document by a
    /// partial one. A prefetch passes `unread`.
    pub(in crate::cache) fn keep(&self, snapshot: &Snapshot, unread: Option<Unread>) {
        // A purge may append its invalidation between the judgement here and the write.
        let Ok(_storing) = self.storing.try_read() else { return };
        // Order: this clock first. A pause between the two would otherwise prolong the snapshot's life.
        let (now, wall) = (self.clock.now(), self.clock.utc());
        let until_then = |instant: DateTime<Utc>| (instant - wall).to_std().unwrap_or_default();
        let until = now.after(until_then(snapshot.expires_at).min(self.memory_config.ttl));
        // A point on the monotonic clock, so that a hit does not read the wall clock.
        let refresh_ahead_from = now.after(until_then(snapshot.refresh_at(self.database_config.refresh_after)));
        let view = self.log.view(&snapshot.key);
        if view.admits(snapshot, SectionSet::ALL) && !self.hides_a_complete_one(snapshot, &view) {
            let value = MemoryValue::Snapshot(snapshot.clone());
            let entry = MemoryEntry { value, until, refresh_ahead_from, unread };
            let is_kept = self.memory.put_unless(snapshot.key.clone(), entry, |held| self.is_usable(held, &view));
            self.memory_metrics.wrote(if is_kept { WriteOutcome::Done } else { WriteOutcome::Skipped });
        }
    }

    fn hides_a_complete_one(&self, snapshot: &Snapshot, view: &LogView) -> bool {
        if snapshot.complete() || mutant::on(Mutant::PartialOverComplete) {
            return false;
        }
        self.memory.get(&snapshot.key).is_some_and(|entry| {
            let is_complete = matches!(&entry.value, MemoryValue::Snapshot(held) if held.complete());
            is_complete && self.is_usable(&entry, view)
        })
    }

    /// Whether a snapshot in memory can be served. One that cannot never stands in the way of another.
    fn is_usable(&self, entry: &MemoryEntry, view: &LogView) -> bool {
        match &entry.value {
            MemoryValue::Snapshot(held) => self.clock.now() < entry.until && view.admits(held, SectionSet::ALL),
            MemoryValue::NotFound { .. } => false,
        }
    }

    /// Keeps for a short while, in memory only, that the sources know no such user or strategy.
    pub(in crate::cache) fn keep_not_found(
        &self,
        key: &CacheKey,
        view: &LogView,
        read_position: i64,
        what: Missing,
        ttl: Duration,
    ) {
        let value = MemoryValue::NotFound { what, epoch: Arc::clone(&view.epoch), read_position };
        let until = self.clock.now().after(ttl);
        self.memory.put(key.clone(), MemoryEntry { value, until, refresh_ahead_from: until, unread: None });
    }

    /// Stores a snapshot in one tier, or in Redis and the table, in the background. `lease` is released when the other
    /// instances can find the snapshot.
    pub(in crate::cache) fn store_behind(
        self: &Arc<Self>,
        snapshot: Snapshot,
        only: Option<Tier>,
        lease: Option<Lease>,
    ) {
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else {
            tracing::debug!("too many background writes; a document is kept in memory only");
            return;
        };
        let tiers = Arc::clone(self);
        let storing = async move {
            let (_permit, _lease) = (permit, lease);
            let _storing = tiers.storing.read().await;
            tiers.store(&snapshot, only).await;
        };
        self.tasks.spawn(storing.instrument(trace::outliving(info_span!(parent: None, "store", trace_id = Empty))));
    }

    async fn store(&self, snapshot: &Snapshot, only: Option<Tier>) {
        // An erasure that this instance has not applied is acknowledged without it once its lease has lapsed. Nothing is
        // encrypted by a key that is made after that: it would be left.
        if self.encryption.is_some() && self.log.renewed_lease_validity().await != LogValidity::Verified {
            return;
        }
        let Ok(key) = self.key_of(snapshot, only).await else { return };
        // Order: after the key. The erasure deletes the keys of users a second time after all leases have lapsed.
        if key.is_some() && self.log.lease_validity() != LogValidity::Verified {
            return;
        }
        // Order: the view after the key. What an erasure outdates is encrypted only by a key from before this instance has
        // applied the erasure. The erasure deletes that one.
        let view = self.log.view(&snapshot.key);
        if !view.admits(snapshot, SectionSet::ALL) {
            self.superseded.add(1);
            return;
        }
        if self.faults.lose(FaultPoint::Store).await {
            return;
        }
        let below = if mutant::on(Mutant::PartialOverComplete) { i64::MAX } else { view.last_invalidation() };
        // The tiers count and log their failures; the next load tries again.
        if let Some(redis) = self.redis.as_ref().filter(|_| only != Some(Tier::Database)) {
            // Order: the witness first. The document would be revived by a database that has lost what came before it.
            if self.log.raise_witness(snapshot.read_position_max()).await {
                let _ = redis
                    .put_by(key.as_deref(), snapshot, view.last_invalidation())
                    .instrument(info_span!("write redis"))
                    .await;
            }
        }
        if only != Some(Tier::Redis) {
            let _ =
                self.database.put_by(key.as_deref(), snapshot, below).instrument(info_span!("write database")).await;
        }
    }

    /// The key to encrypt by; none if documents are stored in clear. A failure is that of each tier.
    async fn key_of(&self, snapshot: &Snapshot, only: Option<Tier>) -> Result<Option<Arc<UserKey>>, ()> {
        let Some(keys) = &self.encryption else { return Ok(None) };
        let error = match keys.of(&snapshot.key.user).await {
            Ok(key) => return Ok(Some(key)),
            Err(error) => TierError::Keys(error),
        };
        let redis = self.redis.as_ref().filter(|_| only != Some(Tier::Database)).map(|redis| &redis.guard.metrics);
        let database = Some(&self.database.guard.metrics).filter(|_| only != Some(Tier::Redis));
        for metrics in redis.into_iter().chain(database) {
            metrics.wrote(WriteOutcome::Skipped);
            metrics.failed(&error);
        }
        Err(())
    }

    /// Drops the copies in memory and Redis after an invalidation that could not be made durable.
    pub(in crate::cache) async fn drop_unconfirmed(&self, scope: &Scope) {
        self.memory.remove(scope);
        self.remove_from_redis(scope).await;
    }

    /// Drops copies that the invalidation at `position` outdated, to free their space. Returns the deleted rows.
    pub(in crate::cache) async fn drop_copies(&self, scope: &Scope, position: i64) -> u64 {
        let (rows, ()) = tokio::join!(self.database.remove(scope, position), self.remove_from_redis(scope));
        rows.unwrap_or_default()
    }

    async fn remove_from_redis(&self, scope: &Scope) {
        if let Some(redis) = &self.redis {
            let _ = redis.remove(scope).await;
        }
    }

    /// Deletes every copy after an invalidation, AI responses included. Fails if one tier cannot be cleaned. Safe to
    /// repeat.
    pub(in crate::cache) async fn purge(&self, scope: &Scope, ai: &AiAnalysis) -> Result<u64, Error> {
        let incomplete = |tier| {
            move |error: TierError| {
                tracing::error!(%error, tier = Tier::name(tier), "purge incomplete: a tier could not be cleaned");
                Error::Unavailable {
                    reason: Unavailable::PurgeIncomplete { tier: Tier::name(tier) },
                    retry_after: Duration::from_secs(1),
                    cause: None,
                }
            }
        };
        let _purging = self.storing.write().await;
        self.memory.remove(scope);
        if let Some(redis) = &self.redis {
            redis.purge(&scope.user).await.map_err(incomplete(Tier::Redis))?;
        }
        ai.forget(&scope.user).await;
        self.database.purge(scope).await.map_err(incomplete(Tier::Database))
    }
}
