//! What the cache and its background jobs count: the one account that statistics and metrics both read.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::change_feed::ChangeFeed;
use crate::{
    clock::Moment,
    model::{CacheStatus, SECTIONS, Section, section::index},
    proto::v1::{ChangeStats, PrefetchStats, SectionStats, StalenessCheckStats},
};

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Keeps the larger of the two values.
    pub(crate) fn raise(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }

    pub(crate) fn get(&self) -> i64 {
        count(self.0.load(Relaxed))
    }

    fn millis(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

/// A number as the contract counts.
pub(crate) fn count(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The share of a part; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share for people; counts stay far below 2^53")]
pub(crate) fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Counts since the start of this instance.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(super) started_at: Moment,
    answers: [Counter; CacheStatus::NAMES.len()],
    pub(super) unverified: Counter,
    /// In the contract's order.
    sections: [SectionCounters; SECTIONS.len()],
    pub(crate) changes: ChangeCounters,
    pub(crate) prefetch: PrefetchCounters,
    pub(crate) staleness: StalenessCounters,
}

/// How often loads read a section, and how often they reused a cached one.
#[derive(Debug, Default)]
struct SectionCounters {
    read: Counter,
    reused: Counter,
}

impl Counters {
    pub(super) fn new(started_at: Moment) -> Self {
        Self {
            started_at,
            answers: Default::default(),
            unverified: Counter::default(),
            sections: Default::default(),
            changes: ChangeCounters::default(),
            prefetch: PrefetchCounters::default(),
            staleness: StalenessCounters::default(),
        }
    }

    pub(super) fn answered(&self, status: CacheStatus, verified: bool) {
        self.answers[status.place()].add(1);
        if !verified {
            self.unverified.add(1);
        }
    }

    /// Answers by status, in the order of [`CacheStatus::NAMES`].
    pub(super) fn answers(&self) -> [i64; CacheStatus::NAMES.len()] {
        self.answers.each_ref().map(Counter::get)
    }

    pub(super) fn sections_read(&self, sections: impl Iterator<Item = Section>) {
        sections.for_each(|section| self.sections[index(section)].read.add(1));
    }

    pub(super) fn sections_reused(&self, sections: impl Iterator<Item = Section>) {
        sections.for_each(|section| self.sections[index(section)].reused.add(1));
    }

    pub(super) fn sections(&self) -> Vec<SectionStats> {
        let counted = SECTIONS.into_iter().zip(&self.sections);
        let stats = |(section, counters): (Section, &SectionCounters)| SectionStats {
            section: section.into(),
            read: counters.read.get(),
            reused: counters.reused.get(),
        };
        counted.map(stats).collect()
    }
}

/// What the change relay moved from the outbox into the log.
#[derive(Debug, Default)]
pub(crate) struct ChangeCounters {
    pub(crate) changes: Counter,
    pub(crate) invalidations: Counter,
    /// How long the oldest change of the last batch had waited.
    pub(crate) lag_ms: Counter,
    pub(crate) outbox_missing: AtomicBool,
    /// Rounds that this instance has completed.
    pub(crate) rounds: Counter,
    /// Changes that waited when this instance, as the one that reads them, counted last.
    pub(crate) backlog: Counter,
}

impl ChangeCounters {
    pub(super) fn is_active(&self) -> bool {
        !self.outbox_missing.load(Relaxed)
    }

    /// Without the backlog, which only the database knows.
    pub(super) fn stats(&self, feed: &ChangeFeed) -> ChangeStats {
        ChangeStats {
            active: self.is_active(),
            changes: self.changes.get(),
            invalidations: self.invalidations.get(),
            backlog: None,
            lag: Some(self.lag().into()),
            verified_age: feed.verified_age().map(Into::into),
            rounds: self.rounds.get(),
            unwatched: feed.unwatched().iter().map(Into::into).collect(),
        }
    }

    pub(super) fn lag(&self) -> Duration {
        self.lag_ms.millis()
    }
}

/// What became of prefetches.
#[derive(Debug, Default)]
pub(crate) struct PrefetchCounters {
    pub(crate) started: Counter,
    pub(crate) finished: Counter,
    /// Prefetched documents that a request read.
    pub(super) read: Counter,
    pub(crate) unread: Counter,
    pub(crate) unlikely: Counter,
    pub(crate) busy: Counter,
    pub(crate) over_budget: Counter,
    pub(crate) failed: Counter,
}

impl PrefetchCounters {
    pub(super) fn stats(&self) -> PrefetchStats {
        PrefetchStats {
            started: self.started.get(),
            finished: self.finished.get(),
            read: self.read.get(),
            skipped_unread: self.unread.get(),
            skipped_unlikely: self.unlikely.get(),
            skipped_busy: self.busy.get(),
            skipped_budget: self.over_budget.get(),
            skipped_failed: self.failed.get(),
        }
    }
}

/// What comparing served documents with their sources showed.
#[derive(Debug, Default)]
pub(crate) struct StalenessCounters {
    pub(crate) compared: Counter,
    /// Samples dropped while another one waited.
    pub(super) skipped: Counter,
    /// Differences explained by a change that was still on its way.
    pub(crate) change_pending: Counter,
    pub(crate) undecided: Counter,
    pub(crate) stale: Counter,
    pub(crate) age_max_ms: Counter,
}

impl StalenessCounters {
    pub(super) fn stats(&self) -> StalenessCheckStats {
        let age_max = self.age_max_ms.millis();
        StalenessCheckStats {
            compared: self.compared.get(),
            skipped: self.skipped.get(),
            change_pending: self.change_pending.get(),
            undecided: self.undecided.get(),
            stale: self.stale.get(),
            age_max: (!age_max.is_zero()).then(|| age_max.into()),
        }
    }
}
