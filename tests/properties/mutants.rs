//! Each broken rule is noticed: a list of steps that is played with the rule, when every promise holds, and without it,
//! when one is broken.

use userdata::{fault::FaultPoint, mutant::Mutant};

use crate::{
    Alone, played,
    script::{
        At::{A, B, C},
        Fault,
        How::{self, Plain},
        Key::{One, One11, One12, Two, Two21},
        Lie, Span,
        Step::{self, Disturb, Get, Invalidate, LoseCommits, Mend, Poll, Redis, Refresh, Release, Tick, Write},
    },
};

/// The steps break a promise if, and only if, the rule is broken.
fn is_noticed(mutant: Mutant, steps: &[Step]) {
    {
        let _alone = Alone::with(None);
        if let Err(violation) = played(steps) {
            panic!("without {mutant:?}: {violation:?}");
        }
    }
    let _alone = Alone::with(Some(mutant));
    match played(steps) {
        Err(violation) => eprintln!("{mutant:?}: {violation:?}"),
        Ok(trace) => panic!("nothing notices {mutant:?}\n{}", trace.join("\n")),
    }
}

const STRATEGY: FaultPoint = FaultPoint::Source("strategy");

macro_rules! noticed {
    ($($name:ident: $mutant:ident by [$($step:expr),* $(,)?];)*) => {
        $(#[test]
        fn $name() {
            is_noticed(Mutant::$mutant, &[$($step),*]);
        })*
    };
}

noticed! {
    a_tag_taken_at_the_end_of_the_load_is_noticed: ReadPositionTakenAtTheEnd by [
        Disturb(A, STRATEGY, Fault::HoldAnswer),
        Get(A, One, Plain),
        Write(One),
        Invalidate(A, One, None, false),
        Release(A, STRATEGY),
        Get(A, One, Plain),
    ];
    joining_a_load_older_than_the_invalidation_is_noticed: JoinsAnOlderLoad by [
        Disturb(A, STRATEGY, Fault::HoldAnswer),
        Get(A, One, Plain),
        Write(One),
        Invalidate(A, One, None, false),
        Get(A, One, Plain),
    ];
    acknowledging_before_applying_is_noticed: AcknowledgesBeforeApplying by [
        Get(A, One, Plain),
        Write(One),
        Invalidate(A, One, None, false),
        Get(A, One, Plain),
    ];
    trusting_redis_is_noticed: TrustsRedis by [
        Get(A, One, Plain),
        Redis(Lie::Save),
        Write(One),
        Invalidate(A, One, None, false),
        Redis(Lie::PutBack),
        Get(A, One, Plain),
    ];
    trusting_a_copy_of_the_log_for_ever_is_noticed: NoLease by [
        Get(B, One, Plain),
        Write(One),
        Invalidate(A, One, None, false),
        Tick(Span::Lease),
        Get(B, One, Plain),
    ];
    // The read's answer is late, the invalidation comes between.
    a_lease_counted_from_the_reads_end_is_noticed: LeaseFromTheReadsEnd by [
        Get(B, One, Plain),
        Disturb(B, FaultPoint::Head, Fault::HoldAnswer),
        Poll(B),
        Write(One),
        Invalidate(A, One, None, false),
        Tick(Span::Short),
        Release(B, FaultPoint::Head),
        Tick(Span::Most),
        Get(B, One, Plain),
    ];
    // Between the head and the rows of a reading.
    a_lease_extended_before_the_rows_are_applied_is_noticed: LeaseBeforeTheRows by [
        Get(B, One, Plain),
        Write(One),
        Invalidate(A, One, None, false),
        Tick(Span::Lease),
        Disturb(B, FaultPoint::Rows, Fault::Hold),
        Poll(B),
        Get(B, One, Plain),
    ];
    wait_all_that_does_not_wait_is_noticed: WaitAllDoesNotWait by [
        Get(B, One, Plain),
        Write(One),
        Invalidate(A, One, None, true),
        Get(B, One, Plain),
    ];
    ignoring_the_token_is_noticed: IgnoresTheToken by [
        Get(B, One, Plain),
        Write(One),
        Invalidate(A, One, None, false),
        Get(B, One, How::Token(0)),
    ];
    applying_only_ones_own_rows_is_noticed: AppliesOnlyItsOwnRow by [
        Get(B, One, Plain),
        Write(One),
        Invalidate(A, One, None, false),
        Invalidate(B, Two, None, false),
        Tick(Span::Lease),
        Get(B, One, Plain),
    ];
    // A's position is taken, B's is taken and committed, C reads the log, and only then A's row comes.
    a_sequence_instead_of_the_counter_row_is_noticed: SequenceForACounter by [
        Get(C, One, Plain),
        Write(One),
        Disturb(A, FaultPoint::Appending, Fault::Hold),
        Invalidate(A, One, None, false),
        Invalidate(B, Two, None, false),
        Poll(C),
        Release(A, FaultPoint::Appending),
        Tick(Span::Lease),
        Get(C, One, Plain),
    ];
    sharing_a_catch_up_that_was_sent_before_is_noticed: SharesASentCatchUp by [
        Get(B, One, Plain),
        Disturb(B, FaultPoint::Head, Fault::HoldAnswer),
        Get(B, Two, How::Linearizable),
        Write(One),
        Invalidate(A, One, None, false),
        Get(B, One, How::Linearizable),
        Release(B, FaultPoint::Head),
    ];
    pruning_without_raising_the_floor_is_noticed: PrunesWithoutTheLowWatermark by [
        Get(A, One11, Plain),
        Write(One11),
        Invalidate(A, One11, None, false),
        Invalidate(A, One12, None, false),
        Invalidate(A, Two, None, false),
        Invalidate(A, Two21, None, false),
        Get(A, One11, Plain),
    ];
    // The lost log's position is taken for one of the new log.
    ignoring_the_epoch_is_noticed: IgnoresTheEpoch by [
        Invalidate(A, Two, None, false),
        Invalidate(A, Two, None, false),
        Get(A, One, Plain),
        LoseCommits,
        Poll(A),
        Write(One),
        Invalidate(A, One, None, false),
        Invalidate(A, Two, None, false),
        Get(A, One, Plain),
    ];
    taking_a_lease_over_whose_heartbeat_moves_is_noticed: TakesOverByPosition by [
        Disturb(A, STRATEGY, Fault::Hold),
        Get(A, One, Plain),
        Get(B, One, Plain),
        Tick(Span::Short), Tick(Span::Short), Tick(Span::Short), Tick(Span::Short),
        Tick(Span::Short), Tick(Span::Short), Tick(Span::Short), Tick(Span::Short),
        Tick(Span::Short), Tick(Span::Short), Tick(Span::Short), Tick(Span::Short),
        Mend(A),
    ];
    a_partial_row_over_a_complete_one_is_noticed: PartialOverComplete by [
        Get(A, One, Plain),
        Disturb(B, FaultPoint::Source("performance"), Fault::Fail),
        Refresh(B, One),
    ];
    a_partial_document_over_a_complete_one_in_memory_is_noticed: PartialOverComplete by [
        Get(A, One, Plain),
        Get(A, One, Plain),
        Disturb(A, FaultPoint::Store, Fault::Fail),
        Disturb(A, FaultPoint::Source("performance"), Fault::Fail),
        Refresh(A, One),
        Get(A, One, Plain),
    ];
}
