//! Assembling a document again behind a change, so that its next reader finds a fresh one.
//!
//! Decision: what is worth assembling is decided here, by one instance, from what it knows: who reads here
//! ([`readers`]), and which changes were read soon ([`forecast`]). That the same is not done twice in the cluster is the
//! load lease's to see to, as for every load.
//!
//! Invariant: it takes nothing from those who wait. It begins only while half of the permits are free, whoever comes
//! meanwhile joins its load or begins an own one, and an AI call that the budget forbids ends the load, not the reader's
//! wait. It is no access. It ends where nobody reads.

mod forecast;
mod readers;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    UserDataCache,
    invalidation_log::LogValidity,
    load::{LoadMode, LoadOutcome},
    single_flight::{LoadHandle, LoadRole},
    stats::Counter,
    tiers::memory::MemoryValue,
};
use crate::{
    clock::Clock,
    config,
    error::Error,
    model::{CacheKey, Section, SectionSet, UserDataQuery, UserId},
    proto::v1::PrefetchStats,
    sync::{Mutex, MutexGuard},
};
use readers::{Due, Readers};

/// An AI call is worth making for nobody if such changes were mostly read.
const LIKELY_FOR_A_CALL: f64 = 0.5;
/// The statements of a load are worth it if one such change in ten was.
const LIKELY_FOR_A_LOAD: f64 = 0.1;

/// What is assembled behind changes, and what has come of it.
#[derive(Debug)]
pub(super) struct Ahead {
    config: config::Reassembly,
    readers: Mutex<Readers>,
    clock: Clock,
    /// Loads under way, those that wait for other instances' included.
    places: Arc<Semaphore>,
    counts: PrefetchCounters,
}

#[derive(Debug, Default)]
struct PrefetchCounters {
    started: Counter,
    finished: Counter,
    read: Counter,
    unread: Counter,
    unlikely: Counter,
    busy: Counter,
    over_budget: Counter,
    failed: Counter,
}

/// What is to become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PrefetchDecision {
    Assemble,
    /// Somebody has loaded it meanwhile.
    IsThere,
    /// Something is in the way, and may be gone in a moment: why it is given up if it is not.
    NotYet(SkipReason),
    GiveUp(SkipReason),
}

/// Why a change is left to whoever reads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SkipReason {
    /// Nobody has read what was assembled before.
    Unread,
    /// Such changes are seldom read before the next one.
    Unlikely,
    /// Those who wait left no room.
    Busy,
    /// It would have taken an AI call that is not to be made for nobody.
    OverBudget,
    /// A source fails, or the log cannot be read.
    Failed,
}

impl Ahead {
    pub(super) fn new(config: &config::Reassembly, loads_max: usize, clock: Clock) -> Self {
        Self {
            config: config.clone(),
            readers: Mutex::default(),
            clock,
            places: Arc::new(Semaphore::new(loads_max.div_ceil(2))),
            counts: PrefetchCounters::default(),
        }
    }

    /// Somebody has read a document: not every one who finds it in memory, but the first.
    pub(super) fn read(&self, query: &UserDataQuery) {
        if self.config.enabled && self.readers().read(query, self.clock.now()) {
            self.counts.read.add(1);
        }
    }

    /// Nothing of this user is to be read again.
    pub(super) fn forget(&self, user: &UserId) {
        self.readers().forget(user);
    }

    /// For the statistics; none if it is switched off.
    pub(super) fn stats(&self) -> Option<PrefetchStats> {
        self.config.enabled.then(|| self.figures())
    }

    /// The same, all zero if that is switched off.
    pub(super) fn figures(&self) -> PrefetchStats {
        let counts = &self.counts;
        PrefetchStats {
            started: counts.started.get(),
            finished: counts.finished.get(),
            read: counts.read.get(),
            skipped_unread: counts.unread.get(),
            skipped_unlikely: counts.unlikely.get(),
            skipped_busy: counts.busy.get(),
            skipped_budget: counts.over_budget.get(),
            skipped_failed: counts.failed.get(),
        }
    }

    fn give_up(&self, key: &CacheKey, reason: SkipReason) {
        self.readers().leave(key);
        self.count(reason);
    }

    fn count(&self, reason: SkipReason) {
        let counts = &self.counts;
        match reason {
            SkipReason::Unread => &counts.unread,
            SkipReason::Unlikely => &counts.unlikely,
            SkipReason::Busy => &counts.busy,
            SkipReason::OverBudget => &counts.over_budget,
            SkipReason::Failed => &counts.failed,
        }
        .add(1);
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock()
    }
}

impl UserDataCache {
    /// Takes note of what has changed, and begins what is due. Waits for nothing.
    pub fn reassemble(&self) {
        let ahead = &self.ahead;
        if !ahead.config.enabled {
            return;
        }
        let news = self.loader.invalidation_log.take_recorded_scopes();
        let due = {
            let (mut readers, now) = (ahead.readers(), ahead.clock.now());
            news.iter().for_each(|scope| readers.change(scope, now));
            readers.due(&ahead.config, now)
        };
        for due in due {
            let key = due.query.key();
            match self.verdict(&due) {
                PrefetchDecision::Assemble => self.assemble_ahead(&due.query),
                PrefetchDecision::IsThere => ahead.readers().leave(key),
                PrefetchDecision::NotYet(_) if !due.at_last => {}
                PrefetchDecision::NotYet(reason) | PrefetchDecision::GiveUp(reason) => ahead.give_up(key, reason),
            }
        }
    }

    fn verdict(&self, due: &Due) -> PrefetchDecision {
        let (loader, key) = (&self.loader, due.query.key());
        let view = loader.invalidation_log.view(key);
        let held = loader.memory.get(key).filter(|held| loader.clock.now() < held.until);
        if let Some(MemoryValue::Snapshot(snapshot)) = held.map(|held| held.answer)
            && view.admits(&snapshot, SectionSet::ALL)
        {
            return PrefetchDecision::IsThere;
        }
        let may_call = due.changes.concern(Section::AiAnalysis) && loader.aggregator.ai().asks_a_model();
        if due.unread >= self.ahead.config.unread_max {
            PrefetchDecision::GiveUp(SkipReason::Unread)
        } else if due.likely < if may_call { LIKELY_FOR_A_CALL } else { LIKELY_FOR_A_LOAD } {
            PrefetchDecision::GiveUp(SkipReason::Unlikely)
        } else if loader.backoff.of(key, &view).is_some() {
            PrefetchDecision::GiveUp(SkipReason::Failed)
        } else if loader.invalidation_log.validity() != LogValidity::Verified {
            PrefetchDecision::NotYet(SkipReason::Failed)
        } else if !loader.has_room() || self.ahead.places.available_permits() == 0 {
            PrefetchDecision::NotYet(SkipReason::Busy)
        } else {
            PrefetchDecision::Assemble
        }
    }

    fn assemble_ahead(&self, query: &UserDataQuery) {
        let Ok(place) = Arc::clone(&self.ahead.places).try_acquire_owned() else { return };
        // Order: before it begins, or whoever reads it at once would not be taken for a reader of it.
        self.ahead.readers().assemble(query.key());
        match self.join_or_start(query, LoadMode::Prefetch) {
            (_, LoadRole::Follower) => self.ahead.readers().withdraw(query.key()),
            (handle, LoadRole::Leader) => {
                self.ahead.counts.started.add(1);
                let followed = follow(Arc::clone(&self.ahead), query.key().clone(), handle, place);
                self.loader.tasks.spawn(followed);
            }
        }
    }
}

/// Waits for a load for which nobody else may wait, and counts what it comes to.
async fn follow(ahead: Arc<Ahead>, key: CacheKey, handle: LoadHandle<LoadOutcome>, _place: OwnedSemaphorePermit) {
    let reason = match handle.wait().await.map(|landed| landed.result) {
        Some(Ok(_)) => return ahead.counts.finished.add(1),
        Some(Err(Error::BudgetExceeded)) => SkipReason::OverBudget,
        Some(Err(_)) | None => SkipReason::Failed,
    };
    ahead.readers().withdraw(&key);
    ahead.count(reason);
}
