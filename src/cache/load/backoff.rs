//! A pause after a load that failed: as long as it lasts, who asks is told of that failure.
//!
//! Without it every caller would send the next load against a source that has just failed. The pause
//! is of one key: what ails a source for everybody is its guard's to notice. It is spread, so that
//! those who were told at once when to come back do not come back at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    cache::invalidation_log::LogView,
    clock::{Clock, Moment},
    model::CacheKey,
    sync::{Mutex, MutexGuard},
};

/// A source that is well again is noticed about as fast.
const PAUSE: Duration = Duration::from_secs(1);
/// Each pause is longer or shorter than that by this share at most.
const JITTER: f64 = 0.25;
/// Keys remembered at most; beyond it loads are tried without a pause. Each takes some 300 bytes.
const KEYS_MAX: usize = 10_000;

/// The keys whose loads have just failed.
#[derive(Debug)]
pub(in crate::cache) struct FailureBackoff {
    keys: Mutex<HashMap<CacheKey, FailedKey>>,
    clock: Clock,
}

#[derive(Debug)]
struct FailedKey {
    until: Moment,
    source_name: &'static str,
    epoch: Arc<str>,
    read_position: i64,
}

/// A pause that is not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cache) struct RecentFailure {
    /// The source that failed.
    pub(in crate::cache) source_name: &'static str,
    /// The position known before it was asked.
    pub(in crate::cache) read_position: i64,
    /// What is left of the pause.
    pub(in crate::cache) left: Duration,
}

/// How long to leave a key alone whose load has just failed.
pub(in crate::cache) fn pause() -> Duration {
    PAUSE.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER))
}

impl FailureBackoff {
    pub(in crate::cache) fn new(clock: Clock) -> Self {
        Self { keys: Mutex::default(), clock }
    }

    /// Begins a pause. `view` is what the load that failed began with.
    pub(in crate::cache) fn begin(&self, key: &CacheKey, view: &LogView, source_name: &'static str, pause: Duration) {
        let now = self.clock.now();
        let mut keys = self.keys();
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, cooldown| now < cooldown.until);
        }
        if keys.len() < KEYS_MAX {
            let (epoch, read_position) = (Arc::clone(&view.epoch), view.applied);
            keys.insert(key.clone(), FailedKey { until: now.after(pause), source_name, epoch, read_position });
        }
    }

    /// The pause of a key. An invalidation ends it: who has just repaired something wants to see it.
    pub(in crate::cache) fn of(&self, key: &CacheKey, view: &LogView) -> Option<RecentFailure> {
        let now = self.clock.now();
        let keys = self.keys();
        let FailedKey { until, source_name, epoch, read_position } = keys.get(key)?;
        let holds = now < *until && view.epoch == *epoch && *read_position >= view.last_invalidation();
        holds.then(|| RecentFailure { source_name, read_position: *read_position, left: until.since(now) })
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<CacheKey, FailedKey>> {
        self.keys.lock()
    }
}
