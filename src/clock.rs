//! The two clocks of the process, which tests can move.
//!
//! Waits, leases and ages inside the process use `CLOCK_BOOTTIME`. It never jumps and, unlike `CLOCK_MONOTONIC` (which
//! `std::time::Instant` reads), continues while the machine is suspended, so a lease expires during a suspend. Times
//! that leave the process (as_of, expiry) are wall-clock time in UTC.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};

use crate::sync::{
    atomic::{AtomicU64, Ordering},
    time,
};

/// A point on the boot-time clock, in nanoseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }

    /// Nanoseconds since boot, for an atomic.
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// The reverse of [`Moment::nanos`].
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Zero if `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Clones share the time that a test has added.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Nanoseconds added by a test; zero in production.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Moves this clock, and every clone of it, forward. For tests.
    pub fn advance(&self, duration: Duration) {
        self.ahead.fetch_add(nanoseconds(duration), Ordering::Relaxed);
    }

    /// Now, on the boot-time clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(nanoseconds(time::now()).saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    /// Now, on the wall clock, truncated to microseconds, the precision of the databases.
    #[must_use]
    pub fn utc(&self) -> DateTime<Utc> {
        let ahead = Duration::from_nanos(self.ahead.load(Ordering::Relaxed));
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let now = Utc::now();
        (now + ahead).trunc_subsecs(6)
    }
}

/// 584 years of nanoseconds fit; longer durations count as that.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
