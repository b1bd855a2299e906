//! A load that looks into the tiers first, and reads the sources once for the whole cluster while the database is up.
//!
//! Order: lookup permit, tiers, load permit, lease, sources. A load whose lease another instance holds releases its
//! permit before it waits. The document is in the tiers before the lease is free again.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tracing::{Instrument as _, info_span};

use super::{
    lease::{self, NoDocument},
    loader::{Attempt, Loader},
    outcome::{LoadMode, LoadedSnapshot},
};
use crate::{
    clock::Moment,
    error::{Error, Unavailable},
    lease::{Claim, LeaseWatch, WaitOutcome},
    model::{CacheStatus, Tier, UserDataQuery},
};

/// What a load has learned from other instances so far.
struct Others {
    until: Moment,
    /// A lease whose holder is gone.
    expired: Option<LeaseWatch>,
    /// Nothing more is to be expected of them.
    alone: bool,
    /// How to report a hit: the document may come from another instance's load.
    status: fn(Tier) -> CacheStatus,
}

impl Loader {
    /// From a tier, from another instance's load, or from the sources.
    pub(super) async fn load_once(
        self: &Arc<Self>,
        query: &UserDataQuery,
        mode: LoadMode,
    ) -> Result<LoadedSnapshot, Error> {
        let key = query.key();
        let newer_than = if let LoadMode::Revalidate(than) = mode { Some(than) } else { None };
        let until = self.clock.now().after(self.config.load_lease.wait_max);
        let mut others = Others { until, expired: None, alone: false, status: CacheStatus::Hit };
        // For the first lookup only: a load that has waited for another instance is not refused before its second one.
        let mut lookup_permit = Some(self.admission.look().await?);
        loop {
            let mut found = self.tiers.lookup(key, newer_than).await;
            lookup_permit.take();
            if let Some(hit) = found.hit {
                return Ok(self.found(hit, mode, others.status));
            }
            let view = &self.log.view(key);
            if let Some(recent) = self.backoff.of(key, view) {
                let attempt = Attempt { query, mode, view, fallback: &found.fallback };
                return self.conclude(attempt, recent.read_position, recent.into());
            }
            let permit = self.admission.permit().await?;
            // Order: again, after the wait. Nothing has been read from the sources yet, so the document honours later
            // invalidations too.
            let view = &self.log.view(key);
            let attempt = Attempt { query, mode, view, fallback: &found.fallback };
            let lease = match self.ask_for_lease(attempt, &mut others, found.database_left).await {
                Claim::Alone => None,
                Claim::Ours(lease) => {
                    if lease.done {
                        // Another instance stored the document between the lookup and the lease.
                        found = self.tiers.lookup(key, newer_than).await;
                    }
                    if let Some(hit) = found.hit {
                        return Ok(self.found(hit, mode, |_| CacheStatus::Shared));
                    }
                    Some(lease)
                }
                Claim::Theirs(watch) => {
                    drop(permit);
                    match self.wait_for_holder(watch, attempt, &mut others).await {
                        ControlFlow::Continue(()) => continue,
                        ControlFlow::Break(ended) => return ended,
                    }
                }
            };
            let attempt = Attempt { query, mode, view, fallback: &found.fallback };
            // On the heap: the sources' statements make the future large, and hits in Redis need not carry it.
            let loaded = Box::pin(self.load_from_sources(attempt, lease)).await;
            drop(permit);
            return loaded;
        }
    }

    /// Within the rest of the lookup's time for the database.
    async fn ask_for_lease(&self, attempt: Attempt<'_>, others: &mut Others, time_left: Duration) -> Claim {
        let Attempt { query, view, .. } = attempt;
        // Without a log epoch no instance can judge what this one stores.
        if others.alone || view.epoch.is_empty() {
            return Claim::Alone;
        }
        let is_stored = self.tiers.database.is_stored(query.key(), view.last_invalidation());
        let work = lease::work(query.key(), view, is_stored);
        self.leases.claim(&work, others.expired.take(), time_left).instrument(info_span!("lease")).await
    }

    async fn wait_for_holder(
        &self,
        watch: LeaseWatch,
        attempt: Attempt<'_>,
        others: &mut Others,
    ) -> ControlFlow<Result<LoadedSnapshot, Error>> {
        let key = attempt.query.key();
        let _permit = match self.admission.watch() {
            Ok(permit) => permit,
            Err(error) => return ControlFlow::Break(Err(error)),
        };
        others.status = |_| CacheStatus::Shared;
        let waiting = self.leases.wait(watch, others.until, || self.log.view(key).last_invalidation());
        match waiting.instrument(info_span!("wait for another instance")).await {
            WaitOutcome::Released => {}
            WaitOutcome::Expired(watch) => others.expired = Some(watch),
            WaitOutcome::Ended { outcome, watch } => match NoDocument::read(outcome, &self.log.view(key)) {
                Some((NoDocument::Failed(failure), read_position)) => {
                    return ControlFlow::Break(self.conclude(attempt, read_position, failure));
                }
                Some((NoDocument::TooLarge, _)) => others.alone = true,
                None => others.expired = Some(watch),
            },
            WaitOutcome::TimedOut => others.alone = true,
            WaitOutcome::Stopped => return ControlFlow::Break(Err(draining())),
        }
        ControlFlow::Continue(())
    }
}

fn draining() -> Error {
    Error::Unavailable { reason: Unavailable::Draining, retry_after: Duration::ZERO, cause: None }
}
