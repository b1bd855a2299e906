//! What the search has found, each as the list of steps that broke a promise until it, or the oracle, was mended.

use userdata::fault::FaultPoint;

use crate::{
    Alone, played,
    script::{
        At::{A, B, C},
        Fault,
        How::{Linearizable, Plain, Token},
        Key::One,
        Span::Most,
        Step::{self, Disturb, Get, Invalidate, LoseCommits, Tick, Write},
    },
};

fn keeps_every_promise(steps: &[Step]) {
    let _alone = Alone::with(None);
    if let Err(violation) = played(steps) {
        panic!("{violation:?}");
    }
}

/// B waits for C's load when the database loses commits, and is answered with a document of the new log, whose
/// position it has to be told, not the higher one at which it began to wait.
#[test]
fn a_token_tells_a_position_in_the_log_that_the_document_is_of() {
    keeps_every_promise(&[
        Invalidate(C, One, None, false),
        Disturb(C, FaultPoint::Source("onboarding"), Fault::HoldAnswer),
        Get(C, One, Plain),
        Get(B, One, Linearizable),
        Disturb(B, FaultPoint::Store, Fault::Hold),
        LoseCommits,
        Get(B, One, Token(0)),
        Write(One),
        Invalidate(A, One, None, false),
    ]);
}

/// A answers with a complete document that it does not know to be outdated. Once it does, what there is is partial.
#[test]
fn a_partial_document_may_follow_a_complete_one_that_is_outdated() {
    keeps_every_promise(&[
        Disturb(B, FaultPoint::Source("performance"), Fault::Fail),
        Get(A, One, Plain),
        Invalidate(B, One, None, false),
        Get(A, One, Plain),
        Disturb(A, FaultPoint::Head, Fault::Hold),
        Get(A, One, Linearizable),
        Get(A, One, Linearizable),
        Get(B, One, Plain),
        Tick(Most),
        Get(A, One, Plain),
    ]);
}
