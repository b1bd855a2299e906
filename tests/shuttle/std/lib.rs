//! The standard library as the files under test see it: everything is std's own, but locks and atomics
//! are Shuttle's, which lets the scheduler switch tasks at each of them.
//!
//! A crate of its own, because only a crate can be given another's name.

pub use std::*;

/// Named one by one: what Shuttle has no version of must not be used unseen.
pub mod sync {
    pub use std::sync::{Arc, PoisonError};

    pub use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
}
