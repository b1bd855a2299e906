//! Locks and atomics of the whole crate, in one place: Shuttle's tests (`tests/shuttle`) exchange them for their own.
//!
//! A lock whose holder has panicked is taken all the same, as `parking_lot` does it: every critical section here leaves
//! its data whole after each step.

pub use std::sync::atomic;

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
pub(crate) use tokio::sync::Mutex as AsyncMutex;
