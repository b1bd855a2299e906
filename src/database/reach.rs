//! Whether the cache's database is asked at all. The database tier sets it by its circuit breaker, and all other users
//! of that database obey it: a request waits once for a database that is down, not once per use.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Set by the database tier. Clones share it.
#[derive(Clone, Debug)]
pub struct Reach(Arc<AtomicBool>);

impl Default for Reach {
    /// Within reach.
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Reach {
    /// Says it.
    pub fn set(&self, within: bool) {
        self.0.store(within, Ordering::Relaxed);
    }

    /// Whether it is to be asked.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
