//! Whether the cache's database is asked at all. The tier whose breaker knows says so; whoever else would
//! wait for that database heeds it, so that a request waits for one that is down once, not once a place.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Said in one place, heeded in others. Cloning shares it.
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
