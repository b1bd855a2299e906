//! How long loads take, by their outcome. A load that is dropped or panics counts as failed.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::outcome::LoadedSnapshot;
use crate::{
    clock::{Clock, Moment},
    error::Error,
    model::CacheStatus,
    telemetry::{DurationHistogram, Meter, names::LOAD_DURATION},
};

#[derive(Debug)]
pub(in crate::cache) struct LoadMetrics {
    found: DurationHistogram,
    assembled: DurationHistogram,
    stale: DurationHistogram,
    not_found: DurationHistogram,
    failed: DurationHistogram,
    under_way: AtomicI64,
}

impl LoadMetrics {
    pub(in crate::cache) fn measured(meter: &Meter) -> Self {
        let durations = |outcome| meter.durations(&LOAD_DURATION, &[outcome]);
        Self {
            found: durations("found"),
            assembled: durations("assembled"),
            stale: durations("stale"),
            not_found: durations("not_found"),
            failed: durations("failed"),
            under_way: AtomicI64::new(0),
        }
    }

    pub(super) fn under_way(&self) -> i64 {
        self.under_way.load(Relaxed)
    }

    pub(super) fn begin<'a>(&'a self, clock: &'a Clock) -> LoadTimer<'a> {
        self.under_way.fetch_add(1, Relaxed);
        LoadTimer { metrics: self, durations: &self.failed, clock, began: clock.now() }
    }
}

/// Measures a running load.
pub(super) struct LoadTimer<'a> {
    metrics: &'a LoadMetrics,
    durations: &'a DurationHistogram,
    clock: &'a Clock,
    began: Moment,
}

impl LoadTimer<'_> {
    /// Records the load, with its outcome in the current span.
    pub(super) fn end(mut self, loaded: &Result<LoadedSnapshot, Error>) {
        let (durations, outcome) = match loaded.as_ref().map(|loaded| loaded.status) {
            Ok(CacheStatus::Hit(_) | CacheStatus::Shared) => (&self.metrics.found, "found"),
            Ok(CacheStatus::Assembled | CacheStatus::Refreshed) => (&self.metrics.assembled, "assembled"),
            Ok(CacheStatus::Stale(_)) => (&self.metrics.stale, "stale"),
            Err(Error::NotFound { .. }) => (&self.metrics.not_found, "not_found"),
            Err(_) => (&self.metrics.failed, "failed"),
        };
        self.durations = durations;
        tracing::Span::current().record("outcome", outcome);
    }
}

impl Drop for LoadTimer<'_> {
    fn drop(&mut self) {
        self.metrics.under_way.fetch_sub(1, Relaxed);
        self.durations.record(self.clock.now().since(self.began));
    }
}
