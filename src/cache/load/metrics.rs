//! How long loads take, by how they end. One that is dropped half way, or that dies, has failed.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::LoadedSnapshot;
use crate::{
    clock::{Clock, Moment},
    error::Error,
    model::CacheStatus,
    telemetry::{Durations, Meter, names::FLIGHT_DURATION},
};

/// Durations by outcome.
#[derive(Debug)]
pub(in crate::cache) struct Loads {
    found: Durations,
    assembled: Durations,
    stale: Durations,
    not_found: Durations,
    failed: Durations,
    under_way: AtomicI64,
}

impl Loads {
    pub(super) fn measured(meter: &Meter) -> Self {
        let loads = |outcome| meter.durations(&FLIGHT_DURATION, &[outcome]);
        Self {
            found: loads("found"),
            assembled: loads("assembled"),
            stale: loads("stale"),
            not_found: loads("not_found"),
            failed: loads("failed"),
            under_way: AtomicI64::new(0),
        }
    }

    /// Loads that are going on.
    pub(in crate::cache) fn under_way(&self) -> i64 {
        self.under_way.load(Relaxed)
    }

    /// A load begins.
    pub(super) fn begin<'a>(&'a self, clock: &'a Clock) -> RunningLoad<'a> {
        self.under_way.fetch_add(1, Relaxed);
        RunningLoad { loads: self, durations: &self.failed, clock, began: clock.now() }
    }
}

/// A load that is going on.
pub(super) struct RunningLoad<'a> {
    loads: &'a Loads,
    durations: &'a Durations,
    clock: &'a Clock,
    began: Moment,
}

impl RunningLoad<'_> {
    /// Records it, and says in its span how it ended.
    pub(super) fn end(mut self, loaded: &Result<LoadedSnapshot, Error>) {
        let (durations, outcome) = match loaded {
            Ok(LoadedSnapshot { status: CacheStatus::Hit(_) | CacheStatus::Shared, .. }) => {
                (&self.loads.found, "found")
            }
            Ok(LoadedSnapshot { status: CacheStatus::Assembled | CacheStatus::Refreshed, .. }) => {
                (&self.loads.assembled, "assembled")
            }
            Ok(LoadedSnapshot { status: CacheStatus::Stale(_), .. }) => (&self.loads.stale, "stale"),
            Err(Error::NotFound { .. }) => (&self.loads.not_found, "not_found"),
            Err(_) => (&self.loads.failed, "failed"),
        };
        self.durations = durations;
        tracing::Span::current().record("outcome", outcome);
    }
}

impl Drop for RunningLoad<'_> {
    fn drop(&mut self) {
        self.loads.under_way.fetch_sub(1, Relaxed);
        self.durations.record(self.clock.now().since(self.began));
    }
}
