//! Fault injection for tests: a call from the cache to a dependency fails, hangs, or continues later.
//!
//! Each instance has one [`Faults`], which its parts take when they are created ([`Faults::here`]). Without the feature
//! `mutants` it has no size, and [`Faults::through`] returns its argument. A proxy for each dependency would be more
//! real, but it cannot tell statements apart, nor know when no call is in progress; so tests would have to wait.

#[cfg(feature = "mutants")]
mod plan;

#[cfg(feature = "mutants")]
pub use plan::{Faults, Gauge, Injected, Mode, Place};

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultPoint {
    /// A command to Redis.
    Redis,
    /// A statement on the cache table.
    Row,
    /// The commit of invalidations.
    Append,
    /// The COMMIT of invalidations fails, and SQLite keeps the transaction.
    Commit,
    /// The COMMIT of invalidations fails, and SQLite has ended the transaction by itself, as after FULL, IOERR or NOMEM.
    /// sqlx does not know it.
    CommitEndsByItself,
    /// Between the two transactions of an append that takes positions first: only a mutant does.
    Appending,
    /// The reading of the invalidation log's head.
    Head,
    /// The reading of its rows.
    Rows,
    /// A statement on the table of leases.
    Lease,
    /// Storing a document. If it hangs, the document is stored late.
    Store,
    /// A run of a source.
    Source(&'static str),
}

/// No faults: a build without the feature.
#[cfg(not(feature = "mutants"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults;

#[cfg(not(feature = "mutants"))]
impl Faults {
    #[must_use]
    pub fn here() -> Self {
        Self
    }

    pub fn through<F: Future>(&self, _: FaultPoint, work: F) -> F {
        work
    }

    pub fn lose(&self, _: FaultPoint) -> std::future::Ready<bool> {
        std::future::ready(false)
    }

    pub fn linger(&self, _: FaultPoint) -> std::future::Ready<()> {
        std::future::ready(())
    }
}
