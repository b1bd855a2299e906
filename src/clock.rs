//! The two clocks of the process, and a hand by which tests move them.
//!
//! Waits, leases and ages inside the process use `CLOCK_BOOTTIME`: it never jumps and, unlike
//! `CLOCK_MONOTONIC` (which `std::time::Instant` reads), it goes on while the machine is suspended,
//! so a lease held over a suspend has lapsed afterwards. Instants that leave the process (as_of,
//! expiry) are wall-clock time in UTC.

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
    /// This point and `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }

    /// Nanoseconds since boot, to be kept in an atomic.
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// The reverse of [`Moment::nanos`].
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Tells the time. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Nanoseconds that a test has moved this clock forward; zero in production.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    /// The system's clocks.
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

    /// Now, on the wall clock, cut to microseconds: what the databases keep.
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
