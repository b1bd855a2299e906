//! The change feed as this instance knows it: up to which moment every change that was committed in the sources is
//! applied here.
//!
//! One instance of a cluster reads the sources' outbox in rounds ([`rounds`]) and turns changes into entries of the
//! invalidation log. Every instance's poll of the log also reads the newest round, and certifies a moment by it
//! ([`polls`]). With the log in SQLite there are no rounds: each instance reads the outbox itself, and a poll of the log
//! sent after that certifies the moment at which it began.
//!
//! Invariant: an answer is verified only within `sources.feed_lease` of the certified moment. Nothing that is not told
//! counts as unchanged.

mod polls;
pub(crate) mod round;
pub(crate) mod rounds;

use std::time::Duration;

use tokio::sync::watch;

use self::{
    polls::Polls,
    round::{FeedHead, Round},
};
use crate::{
    clock::{Clock, Moment},
    model::SectionSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
        time::timeout,
    },
};

/// `until` while there is no outbox and never was: nothing is promised for changes.
const NOT_WATCHED: u64 = u64::MAX;

/// How far changes are known.
#[derive(Debug)]
pub(crate) struct ChangeFeed {
    lease: Duration,
    /// Nanoseconds on the boot-time clock; [`NOT_WATCHED`]; 0 before the first certified moment.
    until: AtomicU64,
    /// Whether the sources' database has said that it has no outbox.
    is_absent: AtomicBool,
    /// Sections for whose tables nothing is promised, as bits.
    unwatched: AtomicI64,
    polls: Mutex<Polls>,
    /// The last reading of the outbox by this instance, if each reads it: when it began and ended.
    looked: Mutex<Option<(Moment, Moment)>>,
    certified: watch::Sender<Moment>,
    clock: Clock,
}

impl ChangeFeed {
    /// Nothing is certified yet.
    pub(crate) fn new(lease: Duration, clock: Clock) -> Self {
        Self {
            lease,
            until: AtomicU64::new(0),
            is_absent: AtomicBool::new(false),
            unwatched: AtomicI64::new(0),
            polls: Mutex::default(),
            looked: Mutex::default(),
            certified: watch::Sender::new(Moment::default()),
            clock,
        }
    }

    /// Whether every change that was committed more than the lease ago is applied here. True if there is no outbox and
    /// never was.
    pub(crate) fn holds_at(&self, now: Moment) -> bool {
        now.nanos() < self.until.load(Ordering::Acquire)
    }

    /// Whether changes make themselves known at all.
    pub(crate) fn is_watched(&self) -> bool {
        self.until.load(Ordering::Acquire) != NOT_WATCHED
    }

    /// Sections that tables without triggers are read for.
    pub(crate) fn unwatched(&self) -> SectionSet {
        SectionSet::from_bits(self.unwatched.load(Ordering::Relaxed))
    }

    /// Since when changes have not been known: None while they are.
    pub(crate) fn lost_at(&self, now: Moment) -> Option<Moment> {
        let until = Moment::from_nanos(self.until.load(Ordering::Acquire));
        (now >= until).then_some(until)
    }

    /// The age of the certified moment. None before the first, and if changes are not watched.
    pub(crate) fn verified_age(&self) -> Option<Duration> {
        let until = self.until.load(Ordering::Acquire);
        let certified_at = (until != 0 && until != NOT_WATCHED).then(|| *self.certified.borrow())?;
        Some(self.clock.now().since(certified_at))
    }

    /// Waits until every change that was committed before `moment` is applied here; false if that takes longer.
    pub(crate) async fn reaches(&self, moment: Moment, longest: Duration) -> bool {
        let mut certified = self.certified.subscribe();
        let reached = certified.wait_for(|certified| *certified >= moment);
        matches!(timeout(longest, reached).await, Ok(Ok(_)))
    }

    /// The newest round, and when it was first seen.
    pub(crate) fn newest_round(&self) -> Option<(Round, Moment)> {
        self.polls.lock().newest()
    }

    /// Takes note of a poll of the log that was sent at this moment.
    pub(super) fn record_poll(&self, sent_at: Moment, head: &FeedHead) {
        self.polls.lock().record(sent_at, head.newest, self.clock.now());
    }

    /// The sources' database has no outbox. One that cannot be asked may have one.
    pub(crate) fn has_no_outbox(&self) {
        self.is_absent.store(true, Ordering::Relaxed);
    }

    /// This instance has read the outbox, and appended what was new.
    pub(crate) fn record_look(&self, began: Moment, unwatched: SectionSet) {
        *self.looked.lock() = Some((began, self.clock.now()));
        self.set_unwatched(unwatched);
    }

    /// The log is applied up to the head that a poll sent at this moment has read.
    pub(super) fn applied(&self, sent_at: Moment, head: &FeedHead) {
        if !head.is_registered {
            if self.is_absent.load(Ordering::Relaxed) {
                self.until.store(NOT_WATCHED, Ordering::Release);
            }
            return;
        }
        // From now on changes are watched; what was cached before is of another epoch.
        let _ = self.until.compare_exchange(NOT_WATCHED, 0, Ordering::AcqRel, Ordering::Relaxed);
        if let Some(round) = head.newest {
            self.set_unwatched(round.unwatched);
        }
        let by_rounds = head.newest.and_then(|round| self.polls.lock().certified_by(round.completed));
        let by_look = self.looked.lock().filter(|(_, ended)| *ended <= sent_at).map(|(began, _)| began);
        if let Some(moment) = by_rounds.max(by_look) {
            self.certify(moment);
        }
    }

    fn certify(&self, moment: Moment) {
        self.until.fetch_max(moment.after(self.lease).nanos(), Ordering::AcqRel);
        self.certified.send_if_modified(|certified| {
            let is_later = moment > *certified;
            *certified = moment.max(*certified);
            is_later
        });
    }

    fn set_unwatched(&self, sections: SectionSet) {
        self.unwatched.store(sections.with_dependents().bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
