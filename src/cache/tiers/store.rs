//! Where a loaded document goes, and how copies are dropped.
//!
//! Storing and erasing exclude each other: no copy outlives a purge because it was stored a moment late.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tracing::{Instrument as _, field::Empty, info_span};

use super::{
    error::TierError,
    memory::{MemoryEntry, MemoryValue, Unread},
    tier_metrics::WriteOutcome,
};
use crate::{
    cache::load::{LoadMode, Loader},
    error::{Error, Unavailable},
    fault::Call,
    lease::Lease,
    model::{Scope, SectionSet, Snapshot, Tier},
    mutant::{self, Mutant},
    telemetry::trace,
};

impl Loader {
    /// Keeps a snapshot in memory for what is left of its life, if it is not outdated by now and does
    /// not put a partial document in a complete one's place.
    pub(in crate::cache) fn keep(&self, snapshot: &Snapshot, depth: LoadMode) {
        // While a purge erases, nothing is kept: its fence may come between judging and putting.
        let Ok(_storing) = self.storing.try_read() else { return };
        // Order: this clock first, or a pause between the two would make it live on beyond its end.
        let (now, wall) = (self.clock.now(), self.clock.utc());
        let until_then = |instant: DateTime<Utc>| (instant - wall).to_std().unwrap_or_default();
        let until = now.after(until_then(snapshot.expires_at).min(self.config.memory.ttl));
        // Kept as a point on our own clock, so that a hit need not ask the wall clock.
        let renew_from = now.after(until_then(snapshot.refresh_at(self.config.database.refresh_after)));
        let view = self.invalidation_log.view(&snapshot.key);
        let hides_a_better_one = !(snapshot.complete() || mutant::on(Mutant::PartialOverComplete))
            && self.memory.get(&snapshot.key).is_some_and(|held| match held.answer {
                MemoryValue::Snapshot(held_one) => {
                    self.clock.now() < held.until && held_one.complete() && view.admits(&held_one, SectionSet::ALL)
                }
                MemoryValue::NotFound { .. } => false,
            });
        if view.admits(snapshot, SectionSet::ALL) && !hides_a_better_one {
            let unread = (depth == LoadMode::Prefetch).then(Unread::default);
            let answer = MemoryValue::Snapshot(snapshot.clone());
            let kept = self.memory.put(snapshot.key.clone(), MemoryEntry { answer, until, renew_from, unread });
            self.memory_figures.wrote(if kept { WriteOutcome::Done } else { WriteOutcome::Skipped });
        }
    }

    /// Stores a snapshot in one tier, or in both. Nobody here waits for it; elsewhere those do who wait for
    /// `lease`, which is given back when the snapshot can be found.
    pub(in crate::cache) fn store_behind(
        self: &Arc<Self>,
        snapshot: Snapshot,
        only: Option<Tier>,
        lease: Option<Lease>,
    ) {
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else {
            tracing::debug!("too many writes under way: a document is not stored beyond memory");
            return;
        };
        let loader = Arc::clone(self);
        let storing = async move {
            let (_permit, _lease) = (permit, lease);
            let _storing = loader.storing.read().await;
            let view = loader.invalidation_log.view(&snapshot.key);
            if !view.admits(&snapshot, SectionSet::ALL) {
                loader.counts.superseded.add(1);
                return;
            }
            if loader.faults.lose(Call::Store).await {
                return;
            }
            // Failures are counted and logged by the tiers; the next load tries again.
            if let Some(redis) = loader.redis.as_ref().filter(|_| only != Some(Tier::Database)) {
                let _ = redis.put(&snapshot).instrument(info_span!("write redis")).await;
            }
            if only != Some(Tier::Redis) {
                let last_invalidation =
                    if mutant::on(Mutant::PartialOverComplete) { i64::MAX } else { view.last_invalidation() };
                let _ =
                    loader.database.put(&snapshot, last_invalidation).instrument(info_span!("write database")).await;
            }
        };
        self.tasks.spawn(storing.instrument(trace::outliving(info_span!(parent: None, "store", trace_id = Empty))));
    }

    /// Drops what this instance and Redis hold, though no fence says that it is outdated.
    pub(in crate::cache) async fn drop_without_invalidation(&self, scope: &Scope) {
        self.memory.remove(scope);
        if let Some(redis) = &self.redis {
            let _ = redis.remove(scope).await;
        }
    }

    /// Drops copies that a fence has outdated. Nobody would be given them; this frees their space.
    pub(in crate::cache) async fn drop_copies(&self, scope: &Scope, position: i64) -> u64 {
        let redis = async {
            if let Some(redis) = &self.redis {
                let _ = redis.remove(scope).await;
            }
        };
        let (rows, ()) = tokio::join!(self.database.remove(scope, position), redis);
        rows.unwrap_or_default()
    }

    /// Erases every copy, after a fence: fails if a tier cannot be cleaned. Safe to repeat.
    pub(in crate::cache) async fn purge(&self, scope: &Scope) -> Result<u64, Error> {
        let incomplete = |tier| {
            move |error: TierError| {
                tracing::error!(%error, tier = Tier::name(tier), "a purge could not clean a tier");
                Error::Unavailable {
                    reason: Unavailable::PurgeIncomplete { tier },
                    retry_after: Duration::from_secs(1),
                    cause: None,
                }
            }
        };
        let _erasing = self.storing.write().await;
        self.memory.remove(scope);
        if let Some(redis) = &self.redis {
            redis.purge(&scope.user).await.map_err(incomplete(Tier::Redis))?;
        }
        self.aggregator.ai().forget(&scope.user).await;
        self.database.purge(scope).await.map_err(incomplete(Tier::Database))
    }
}
