//! A load that looks into the tiers first, and whose reading of the sources happens once in the whole
//! cluster while the database is up.
//!
//! Order: a turn, tiers, permit, lease, sources. Whoever finds that another instance holds the lease gives its
//! permit back and waits with empty hands; the document is in the tiers before the lease is free again.

use std::{sync::Arc, time::Duration};

use tracing::{Instrument as _, info_span};

use super::{
    LoadMode, LoadedSnapshot, Loader,
    lease::{self, NoDocument},
};
use crate::{
    cache::{invalidation_log::LogView, tiers::lookup::TierLookup},
    error::{Error, Unavailable},
    lease::{Claim, LeaseWatch, WaitOutcome},
    model::{CacheKey, CacheStatus, UserDataQuery},
};

impl Loader {
    /// From a tier, from another instance's load, or from the sources.
    pub(super) async fn load_once(
        self: &Arc<Self>,
        query: &UserDataQuery,
        depth: LoadMode,
    ) -> Result<LoadedSnapshot, Error> {
        let key = query.key();
        let newer_than = if let LoadMode::Revalidate(than) = depth { Some(than) } else { None };
        let until = self.clock.now().after(self.config.load_lease.wait_max);
        let mut over = None;
        let mut status: fn(_) -> _ = CacheStatus::Hit;
        let mut together = true;
        // For the first look: who has waited for another instance is not sent away before the second one.
        let mut turn = Some(self.admission.look().await?);
        loop {
            let mut found = self.look_into_tiers(key, newer_than).await;
            turn.take();
            if let Some(fresh) = found.fresh {
                return Ok(self.found(fresh, depth, status));
            }
            let view = self.invalidation_log.view(key);
            if let Some(cooling) = self.backoff.of(key, &view) {
                return self.conclude(key, &view, cooling.read_position, &found.reserve, cooling.into());
            }
            let permit = self.admission.permit().await?;
            // Only now: nothing has been read from the sources yet, so fences that came meanwhile are honoured too.
            let view = &self.invalidation_log.view(key);
            let turn = if together {
                let asking = self.ask_for_lease(key, view, over.take(), &found);
                asking.instrument(info_span!("lease")).await
            } else {
                Claim::Alone
            };
            let lease = match turn {
                Claim::Alone => None,
                Claim::Ours(lease) => {
                    if lease.done {
                        // Between our look into the tiers and the taking of the lease.
                        found = self.look_into_tiers(key, newer_than).await;
                    }
                    if let Some(fresh) = found.fresh {
                        return Ok(self.found(fresh, depth, |_| CacheStatus::Shared));
                    }
                    Some(lease)
                }
                Claim::Theirs(watch) => {
                    drop(permit);
                    let _watching = self.admission.watch()?;
                    status = |_| CacheStatus::Shared;
                    let watching =
                        self.leases.wait(watch, until, || self.invalidation_log.view(key).last_invalidation());
                    match watching.instrument(info_span!("wait for another instance")).await {
                        WaitOutcome::Released => {}
                        WaitOutcome::Expired(watch) => over = Some(watch),
                        WaitOutcome::Ended { outcome, watch } => {
                            match NoDocument::read(outcome, &self.invalidation_log.view(key)) {
                                Some((NoDocument::Failed(failure), read_position)) => {
                                    return self.conclude(key, view, read_position, &found.reserve, failure);
                                }
                                Some((NoDocument::TooLarge, _)) => together = false,
                                None => over = Some(watch),
                            }
                        }
                        WaitOutcome::TimedOut => together = false,
                        WaitOutcome::Stopped => return Err(draining()),
                    }
                    continue;
                }
            };
            // On the heap: the sources' statements make it large, and hits in Redis need not carry it.
            let loading = Box::pin(self.load_from_the_sources(query, view, depth, &found.reserve, lease));
            let loaded = loading.await;
            drop(permit);
            return loaded;
        }
    }

    /// In what the look into the tiers has left of the time for the database.
    async fn ask_for_lease(
        &self,
        key: &CacheKey,
        view: &LogView,
        over: Option<LeaseWatch>,
        found: &TierLookup,
    ) -> Claim {
        // Without a log no row can be judged, so nobody could use what is stored for all.
        if view.epoch.is_empty() {
            return Claim::Alone;
        }
        let work = lease::work(key, view, self.database.is_stored(key));
        self.leases.claim(&work, over, found.database_left).await
    }
}

fn draining() -> Error {
    Error::Unavailable { reason: Unavailable::Draining, retry_after: Duration::ZERO, cause: None }
}
