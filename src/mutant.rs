//! Broken variants of the cache's rules, to test the tests: each has to be noticed by one of them.
//!
//! At most one is on at a time in a process, and only if it was built with the feature `mutants`, which no release is.
//! Without it [`on`] is the constant `false`, and the branches are gone. A switch rather than a feature each, which would
//! mean a build each.

/// One rule broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "mutants", derive(clap::ValueEnum))]
pub enum Mutant {
    /// A load takes the position known when it ends as its read position.
    ReadPositionTakenAtTheEnd,
    /// A request joins any running load of its key.
    JoinsAnOlderLoad,
    /// OK is sent as soon as the invalidation is committed.
    AcknowledgesBeforeApplying,
    /// What Redis holds is served unjudged.
    TrustsRedis,
    /// Whoever has caught up once is trusted for ever.
    NoLease,
    /// The lease counts from when the answer came, not from before the read was sent.
    LeaseFromTheReadsEnd,
    /// The lease is extended when the head is known, before the rows are applied.
    LeaseBeforeTheRows,
    /// WAIT_ALL returns at once.
    WaitAllDoesNotWait,
    /// A request's token is not looked at.
    IgnoresTheToken,
    /// An instance that commits an invalidation applies it, and counts the rows before it as applied.
    AppliesOnlyItsOwnRow,
    /// Positions are taken in a transaction of their own, so rows are committed out of order, and a reader that polls
    /// accepts gaps, as it would have to.
    SequenceForACounter,
    /// A request shares a catch-up whose read was sent before it came.
    SharesASentCatchUp,
    /// An instance drops invalidations without raising its low watermark.
    PrunesWithoutTheLowWatermark,
    /// Positions of one epoch are compared with those of another.
    IgnoresTheEpoch,
    /// A waiter counts a holder as dead if its position, not its heartbeat, stops.
    TakesOverByPosition,
    /// A partial document replaces whatever is there.
    PartialOverComplete,
    /// Rows of the outbox are deleted before their invalidations are committed.
    DeletesBeforeInvalidating,
}

/// Whether a rule is broken in this process.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use switch::{on, switch};

#[cfg(feature = "mutants")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutant;

    /// The number of the one that is on, plus one; 0: none.
    static ON: AtomicU8 = AtomicU8::new(0);

    fn number(mutant: Mutant) -> u8 {
        mutant as u8 + 1
    }

    /// Whether a rule is broken in this process.
    #[must_use]
    pub fn on(mutant: Mutant) -> bool {
        ON.load(Ordering::Relaxed) == number(mutant)
    }

    /// Breaks one rule, or none, in this process.
    pub fn switch(mutant: Option<Mutant>) {
        ON.store(mutant.map_or(0, number), Ordering::Relaxed);
    }
}
