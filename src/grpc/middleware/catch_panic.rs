//! A panic fails the request it happened in, and nothing else.
//!
//! hyper would take the whole connection down, and with it the requests of others. The panic's own
//! message went to the log through the panic hook; the caller gets the request's id.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt as _;

/// Something panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

// Unwind safety: what panicked is dropped, never used again; what it shared with others (the cache)
// keeps its invariants by guards and takes no lock that a panic would poison into an error.

/// The future's output, unless it panics.
pub async fn future<F: Future>(work: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Panicked)
}

/// The call's result, unless it panics.
pub fn call<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}
