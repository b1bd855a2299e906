//! Failure backoff: after a failed load, requests for the same key get that failure for about a second.
//!
//! Without it every caller would start another load against a source that has just failed. The backoff covers one key;
//! a source that fails for every key is the circuit breaker's concern. Its length is jittered, so that callers that
//! were refused together do not return together.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    cache::invalidation_log::LogView,
    clock::{Clock, Moment},
    model::CacheKey,
    sync::Mutex,
};

/// About as fast as a recovered source is noticed.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest deviation from the pause, as a share of it.
const JITTER: f64 = 0.25;
/// Keys at most; further ones are tried without a pause. Each takes some 300 bytes.
const KEYS_MAX: usize = 10_000;

/// The keys whose loads failed a moment ago.
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

/// A failure whose backoff is not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RecentFailure {
    pub(super) source_name: &'static str,
    /// The log's position before the failed load read anything.
    pub(super) read_position: i64,
    /// The rest of the backoff.
    pub(super) left: Duration,
}

/// The jittered length of a backoff.
pub(super) fn pause() -> Duration {
    PAUSE.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER))
}

impl FailureBackoff {
    pub(in crate::cache) fn new(clock: Clock) -> Self {
        Self { keys: Mutex::default(), clock }
    }

    /// `view` is the log's state before the failed load read anything.
    pub(super) fn begin(&self, key: &CacheKey, view: &LogView, source_name: &'static str, pause: Duration) {
        let now = self.clock.now();
        let mut keys = self.keys.lock();
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, failed| now < failed.until);
        }
        if keys.len() < KEYS_MAX {
            let (epoch, read_position) = (Arc::clone(&view.epoch), view.applied);
            keys.insert(key.clone(), FailedKey { until: now.after(pause), source_name, epoch, read_position });
        }
    }

    /// The backoff of a key. An invalidation ends it: after a repair, a caller wants to see the result.
    pub(super) fn of(&self, key: &CacheKey, view: &LogView) -> Option<RecentFailure> {
        let now = self.clock.now();
        let keys = self.keys.lock();
        let FailedKey { until, source_name, epoch, read_position } = keys.get(key)?;
        let holds = now < *until && view.epoch == *epoch && *read_position >= view.last_invalidation();
        holds.then(|| RecentFailure { source_name, read_position: *read_position, left: until.since(now) })
    }
}
