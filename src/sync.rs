//! Locks, atomics, tasks, time and chance, in one place: with the feature `shuttle` they are Shuttle's, which runs one
//! task at a time and decides at each of them who goes on (`tests/shuttle`).
//!
//! Locks of the whole crate come from here. A lock whose holder has panicked is taken all the same, as `parking_lot` does
//! it: every critical section leaves its data whole after each step. Atomics, time and chance come from here in the files
//! that Shuttle's tests are about: single flight, invalidation log, lease and clock.

#[cfg(feature = "shuttle")]
pub mod shuttled;

#[cfg(feature = "shuttle")]
pub use shuttled::{atomic, task::TaskTracker, time};
#[cfg(feature = "shuttle")]
pub(crate) use shuttled::{
    chance::random,
    locks::{Mutex, MutexGuard, RwLock, RwLockReadGuard},
};

#[cfg(not(feature = "shuttle"))]
pub use std::sync::atomic;

#[cfg(not(feature = "shuttle"))]
pub use tokio_util::task::TaskTracker;

#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
#[cfg(not(feature = "shuttle"))]
pub(crate) use rand::random;

/// As tokio has it, and the boot-time clock.
#[cfg(not(feature = "shuttle"))]
pub(crate) mod time {
    use std::time::Duration;

    pub(crate) use tokio::time::{sleep, timeout};

    /// The time since boot; it goes on while the machine is suspended.
    pub(crate) fn now() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}
