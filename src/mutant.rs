//! Broken variants of the cache's rules (mutation testing): a test has to fail for each of them.
//!
//! At most one is on in a process, and only in builds with the feature `mutants`, which no release has. Without it, [`on`]
//! is the constant `false` and the branches are compiled out. One feature with a switch, because a feature for each
//! would need a build for each.

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "mutants", derive(clap::ValueEnum))]
pub enum Mutant {
    /// A load takes the position known when it ends as its read position.
    ReadPositionTakenAtTheEnd,
    /// A request joins any running load of its key.
    JoinsAnOlderLoad,
    /// OK is sent as soon as the invalidation is committed.
    AcknowledgesBeforeApplying,
    /// Copies from Redis are served without a check for invalidations.
    TrustsRedis,
    /// The local copy of the log stays valid for ever after the first reading.
    NoLease,
    /// The lease starts when the reading ends, not when it starts.
    LeaseFromTheReadsEnd,
    /// The lease is extended after the head is read, before the rows are applied.
    LeaseBeforeTheRows,
    /// WAIT_ALL returns at once.
    WaitAllDoesNotWait,
    /// The token of a request is ignored.
    IgnoresTheToken,
    /// An instance that commits an invalidation applies it, and counts the rows before it as applied.
    AppliesOnlyItsOwnRow,
    /// Positions are taken in a separate transaction, so rows are committed out of order and readers accept gaps.
    SequenceForACounter,
    /// A request shares a reading of the log that started before the request arrived.
    SharesASentCatchUp,
    /// An instance drops invalidations without raising its low watermark.
    PrunesWithoutTheLowWatermark,
    /// Positions of different epochs are compared.
    IgnoresTheEpoch,
    /// A waiter counts a holder as dead if its position, not its heartbeat, stops.
    TakesOverByPosition,
    /// A partial document replaces a complete one.
    PartialOverComplete,
    /// Notes of changes count as read before their invalidations are committed.
    ConsumesBeforeInvalidating,
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
