//! The single flight, the fence and the lease with another world around them, in which Shuttle decides
//! who runs next. Same files, other names: `cache/flight.rs`, `cache/fence.rs` with its committer and its
//! copy, `lease.rs` with `held` and `watch`, and `clock.rs` are links to the product's files, unchanged.
//!
//! Real: these files, the model, the configuration, tokio's channels and its mutex. Of those each
//! operation is one step, because tasks switch only where Shuttle is asked to: at the locks and atomics
//! of `crate::sync`, at statements, and where a task waits.
//!
//! Stand-ins, each under the name that the files call it by:
//! * [`sync`] has Shuttle's locks and atomics. Shuttle runs one task at a time, so what is checked is the
//!   order of steps, not weaker memory orderings than sequentially consistent ones.
//! * [`time`]: time passes when the scheduler lets it; timers fire in their order, as tokio's do.
//! * [`task::TaskTracker`] spawns Shuttle's tasks, and can die with all of them, as a process does.
//! * [`database::Pool`] in place of a database, with `cache/fence/log.rs` and `lease/table.rs` in place
//!   of their namesakes: a statement is one step, as in a database, but can be late, lost or unanswered.
//!   What the real statements do is tested against real databases.

// With a test's name given, cargo also builds this for tests, and with it the product's unit tests, which
// belong to the product.
#![cfg(not(test))]

extern crate tokio as real_tokio;
extern crate tokio_util as real_tokio_util;

// Order: after the real ones, which are out of reach by these names from here on.
extern crate self as rand;
extern crate self as rustix;
extern crate self as sea_orm;
extern crate self as tokio;
extern crate self as tokio_util;

pub mod cache;
pub mod chance;
pub mod clock;
pub mod database;
pub mod fault;
pub mod lease;
pub mod locks;
pub mod task;
pub mod time;

pub use chance::random;
pub use database::{DbErr, Value};
pub use userdata::{config, model, mutant, proto};

/// Shuttle's locks and atomics; of tokio's and tokio-util's channels their own.
pub mod sync {
    pub use real_tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};
    pub use real_tokio_util::sync::CancellationToken;
    pub use shuttle::sync::atomic;

    pub use crate::locks::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
}
