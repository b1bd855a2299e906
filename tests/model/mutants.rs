//! The broken variants of the protocol. Each drops or reverses one rule, and each must be caught: a rule whose absence
//! breaks no promise is either superfluous or not tested.

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A load takes the position known when it ends as its read position.
    ReadPositionTakenAtTheEnd,
    /// A request joins any running load of its key.
    JoinsAnOlderLoad,
    /// A load of another epoch is joined if its read position is high enough.
    JoinsAcrossEpochs,
    /// OK is sent as soon as the invalidation is committed.
    AcknowledgesBeforeApplying,
    /// A document from Redis is served without being judged.
    TrustsRedis,
    /// An instance that has caught up once counts as valid for ever.
    NoLease,
    /// The lease counts from the arrival of the answer instead of from before the read was sent.
    LeaseFromTheReadsEnd,
    /// The lease is extended when the head is known, before the rows are applied.
    LeaseBeforeTheRows,
    /// WAIT_ALL returns at once.
    WaitAllDoesNotWait,
    /// A request's token is ignored.
    IgnoresTheToken,
    /// An instance that commits an invalidation applies it, and counts the rows before it as applied.
    AppliesOnlyItsOwnRow,
    /// Positions come from a sequence: they are committed out of order. Rolled back transactions leave holes, so a reader
    /// cannot insist on a log without gaps.
    SequenceForACounter,
    /// A request shares a catch-up whose read was sent before the request arrived.
    SharesASentCatchUp,
    /// An instance drops invalidations without raising its low watermark.
    PrunesWithoutTheLowWatermark,
    /// Positions of one epoch are compared with those of another.
    IgnoresTheEpoch,
    /// Whether the log continues the row applied last is checked when the head is read, but not when the rows are.
    TakesTheRowsOfAnotherLog,
    /// An invalidation of a section does not invalidate what is made from it.
    ForgetsWhatIsMadeFromASection,
    /// A load reuses sections of an older document without looking at their invalidations.
    ReusesOutdatedSections,
    /// A partial document replaces any document.
    PartialOverComplete,
    /// (Load lease) a waiter counts a holder as dead if its position, not its heartbeat, stops.
    TakesOverByPosition,
    /// (Load lease) a waiter takes over without comparing the heartbeat that it saw.
    TakesOverWithoutComparing,
    /// (Load lease) a holder loads although an invalidation has passed its position.
    RunsAtAnOldPosition,
    /// (Load lease) every lease's heartbeat starts at 0.
    RestartsTheHeartbeat,
    /// (Load lease) a new holder loads without looking into the table again.
    NoSecondLook,
}
