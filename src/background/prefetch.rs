//! Loads a document again after a change, so that its next reader finds a fresh one.
//!
//! Decision: each instance decides for itself, from the reads it has seen and from how soon such changes were read
//! ([`readers`](crate::cache::readers)). The load lease keeps several instances from doing the same work.
//!
//! Invariant: a prefetch takes nothing from waiting callers. It starts only while half of the permits are free; a caller
//! that arrives meanwhile joins its load or starts another; an AI call beyond the budget ends the prefetch, not the
//! caller's wait. A prefetch is not an access, and it stops for documents without readers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    aggregate::Aggregator,
    cache::{
        counters::{Counter, Counters},
        invalidation_log::{InvalidationLog, LogValidity},
        load::{
            Loads,
            outcome::{LoadMode, LoadOutcome},
        },
        readers::{Due, Readers},
        single_flight::{LoadHandle, LoadRole},
        tiers::Tiers,
    },
    config,
    error::Error,
    model::{CacheKey, Section, UserDataQuery},
    sync::TaskTracker,
};

/// An AI call is worth it if requests read most such changes.
const LIKELY_FOR_A_CALL: f64 = 0.5;
/// The statements of a load are worth it if requests read one such change in ten.
const LIKELY_FOR_A_LOAD: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Prefetch {
    pub(super) config: config::PrefetchSettings,
    pub(super) readers: Arc<Readers>,
    pub(super) loads: Arc<Loads>,
    pub(super) tiers: Arc<Tiers>,
    pub(super) log: Arc<InvalidationLog>,
    pub(super) aggregator: Arc<Aggregator>,
    pub(super) counters: Arc<Counters>,
    /// Running prefetches, including those that wait for other instances.
    pub(super) permits: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
}

/// What to do about a change. A counter tells why the change is left to its next reader.
#[derive(Debug)]
enum PrefetchDecision<'a> {
    Load,
    /// A request has loaded the document meanwhile.
    AlreadyLoaded,
    /// Try again, or skip it if it cannot be put off any longer.
    NotYet(&'a Counter),
    Skip(&'a Counter),
}

impl Prefetch {
    /// Notes what has changed, and starts the loads that are due. Waits for nothing.
    pub(super) fn run(self: &Arc<Self>) {
        for due in self.readers.changed(&self.log.take_recorded_scopes(), &self.config) {
            let key = due.query.key();
            match self.decide(&due) {
                PrefetchDecision::Load => self.load(&due.query),
                PrefetchDecision::AlreadyLoaded => self.readers.skip(key),
                PrefetchDecision::NotYet(_) if !due.is_last_chance => {}
                PrefetchDecision::NotYet(skipped) | PrefetchDecision::Skip(skipped) => {
                    self.readers.skip(key);
                    skipped.add(1);
                }
            }
        }
    }

    fn decide(&self, due: &Due) -> PrefetchDecision<'_> {
        let (key, skipped) = (due.query.key(), &self.counters.prefetch);
        if self.tiers.has_in_memory(key) {
            return PrefetchDecision::AlreadyLoaded;
        }
        let may_call = due.changes.concern(Section::AiAnalysis) && self.aggregator.ai().asks_a_model();
        if due.unread >= self.config.unread_max {
            PrefetchDecision::Skip(&skipped.unread)
        } else if due.likely < if may_call { LIKELY_FOR_A_CALL } else { LIKELY_FOR_A_LOAD } {
            PrefetchDecision::Skip(&skipped.unlikely)
        } else if self.loads.is_backing_off(key) {
            PrefetchDecision::Skip(&skipped.failed)
        } else if self.log.validity() != LogValidity::Verified {
            PrefetchDecision::NotYet(&skipped.failed)
        } else if !self.loads.has_room() || self.permits.available_permits() == 0 {
            PrefetchDecision::NotYet(&skipped.busy)
        } else {
            PrefetchDecision::Load
        }
    }

    fn load(self: &Arc<Self>, query: &UserDataQuery) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
        // Order: before the load starts, or an immediate read would not count as a read of a prefetched document.
        self.readers.prefetch(query.key());
        match self.loads.join_or_start(query, LoadMode::Prefetch) {
            (_, LoadRole::Follower) => self.readers.withdraw(query.key()),
            (handle, LoadRole::Leader) => {
                self.counters.prefetch.started.add(1);
                self.tasks.spawn(Arc::clone(self).follow(query.key().clone(), handle, permit));
            }
        }
    }

    /// Waits for a prefetch, and counts its outcome.
    async fn follow(self: Arc<Self>, key: CacheKey, handle: LoadHandle<LoadOutcome>, _permit: OwnedSemaphorePermit) {
        let counters = &self.counters.prefetch;
        let failed = match handle.wait().await.map(|outcome| outcome.result) {
            Some(Ok(_)) => return counters.finished.add(1),
            Some(Err(Error::BudgetExceeded)) => &counters.over_budget,
            Some(Err(_)) | None => &counters.failed,
        };
        self.readers.withdraw(&key);
        failed.add(1);
    }
}
