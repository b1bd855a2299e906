//! The broken variants of the protocol: each leaves out or turns round one of its rules, and each has
//! to be caught. A rule whose absence nothing notices is either superfluous or not tested.

/// One rule broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A load tags its document with the position known when it ends.
    TagTakenAtTheEnd,
    /// A request joins any running load of its key.
    JoinsAnOlderFlight,
    /// A load that began under another incarnation is joined if its number is high enough.
    JoinsAcrossIncarnations,
    /// OK is sent as soon as the fence is committed.
    AcknowledgesBeforeApplying,
    /// What Redis holds is served unjudged.
    TrustsRedis,
    /// An instance that has caught up once is trusted for ever.
    NoLease,
    /// The lease counts from when the answer came, not from before the read was sent.
    LeaseFromTheReadsEnd,
    /// The lease is extended when the head is known, before the rows are applied.
    LeaseBeforeTheRows,
    /// WAIT_ALL returns at once.
    WaitAllDoesNotWait,
    /// A request's token is not looked at.
    IgnoresTheToken,
    /// An instance that commits an invalidation applies it, and takes the rows before it for applied.
    AppliesOnlyItsOwnRow,
    /// Positions come from a sequence: they are committed out of order, and since rolled back ones
    /// leave holes, a reader cannot insist on a log without gaps.
    SequenceForACounter,
    /// A request shares a catch-up whose read was sent before it came.
    SharesASentCatchUp,
    /// Fences are forgotten without raising the floor over them.
    PrunesWithoutTheFloor,
    /// Positions of one incarnation are compared with those of another.
    IgnoresTheIncarnation,
    /// That the log's rows follow the row applied last is checked when its head is read, but not when
    /// its rows are.
    TakesTheRowsOfAnotherLog,
    /// A fence on a section leaves alone what is made from it.
    ForgetsWhatIsMadeFromASection,
    /// A load takes over sections of an older document without looking at their fences.
    ReusesFencedSections,
    /// The outbox row is deleted before its fence is committed.
    DeletesTheOutboxRowFirst,
    /// A partial document replaces whatever is there.
    PartialOverComplete,
    /// (Load lease) a waiter takes a holder for dead whose position stands still.
    TakesOverByPosition,
    /// (Load lease) a waiter takes over without comparing what it saw.
    TakesOverWithoutComparing,
    /// (Load lease) a holder whose position an invalidation has passed loads under it all the same.
    RunsAtAnOldPosition,
    /// (Load lease) every lease's beat begins at 0.
    RestartsTheBeat,
    /// (Load lease) the holder loads without looking at the table again.
    NoSecondLook,
}
