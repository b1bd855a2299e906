//! Where a test can come between the cache and what it talks to: fail a call, hold it, or let it go on later.
//!
//! Each instance has one [`Faults`], which its parts pick up when they are made ([`Faults::here`]). Without the feature
//! `mutants` it has no size and [`Faults::through`] hands back the very future it was given. A proxy before every
//! server would be more real, but it cannot tell one statement from another, nor when nothing is under way any more; so
//! each case would have to wait for time to pass.

#[cfg(feature = "mutants")]
mod plan;

#[cfg(feature = "mutants")]
pub use plan::{Faults, Gauge, Injected, Mode, Place};

/// What an instance does beyond its own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A command to Redis.
    Redis,
    /// A statement on the cache table.
    Row,
    /// The commit of invalidations.
    Append,
    /// Between the two transactions of an append that takes its positions first: only a mutant comes here.
    Appending,
    /// The reading of the invalidation log's head.
    Head,
    /// The reading of its rows.
    Rows,
    /// A statement on the table of leases.
    Lease,
    /// The storing of a document that was found worth it: what is held here arrives late.
    Store,
    /// A run of a source.
    Source(&'static str),
}

/// None: a build without them.
#[cfg(not(feature = "mutants"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults;

#[cfg(not(feature = "mutants"))]
impl Faults {
    /// Those of the instance that is being made.
    #[must_use]
    pub fn here() -> Self {
        Self
    }

    /// The call itself.
    pub fn through<F: Future>(&self, _: Call, work: F) -> F {
        work
    }

    /// Whether something is lost on its way.
    pub fn lose(&self, _: Call) -> std::future::Ready<bool> {
        std::future::ready(false)
    }

    /// A place in the middle of a call.
    pub fn linger(&self, _: Call) -> std::future::Ready<()> {
        std::future::ready(())
    }
}
