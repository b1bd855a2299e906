//! Who yields when all places are taken, and how long a connection may stay open.

use std::pin::pin;

use futures::{FutureExt as _, future::pending};

use super::*;

const FIRST: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(300);

fn connections(number: usize) -> (Connections, Clock) {
    let clock = Clock::system();
    let limits = ConnectionLimits { connections: number, first_request: FIRST, idle: IDLE };
    (Connections::new(limits, clock.clone(), &Meter::none()), clock)
}

/// Why a connection is told to end, if it is.
fn told(place: &ConnectionPlace) -> Option<End> {
    place.entry.end()
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_longest_without_an_admitted_request() {
    let (connections, _) = connections(3);
    let caller = connections.enter().await;
    caller.entry.admit();
    let (first, second) = (connections.enter().await, connections.enter().await);
    let mut new = pin!(connections.enter());
    assert!(new.as_mut().now_or_never().is_none());
    assert_eq!([&caller, &first, &second].map(told), [None, Some(End::Full), None]);
    assert_eq!(first.grace(End::Full), None, "cut off at once");
    drop(first);
    drop(new.await);
}

#[tokio::test]
async fn without_an_unauthenticated_connection_the_longest_idle_caller_yields_and_never_a_busy_one() {
    let (connections, clock) = connections(3);
    let mut callers = Vec::new();
    for request_ended in [3, 1, 0] {
        let caller = connections.enter().await;
        caller.entry.admit();
        caller.entry.request_begins();
        if request_ended > 0 {
            caller.entry.request_ended(clock.now().after(Duration::from_secs(request_ended)));
        }
        callers.push(caller);
    }
    let mut new = pin!(connections.enter());
    assert!(new.as_mut().now_or_never().is_none());
    assert_eq!(callers.iter().map(told).collect::<Vec<_>>(), [None, Some(End::Full), None]);
    assert!(callers[1].grace(End::Full).is_some(), "its peer is told");
    // One new connection costs one place, however long that takes.
    connections.make_room();
    assert_eq!(told(&callers[0]), None);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_waits_while_all_callers_are_busy_and_gets_the_first_place() {
    let (connections, clock) = connections(1);
    let caller = connections.enter().await;
    caller.entry.admit();
    caller.entry.request_begins();
    let mut new = pin!(connections.enter());
    assert!(timeout(Duration::from_secs(10), new.as_mut()).await.is_err());
    assert_eq!(told(&caller), None);
    caller.entry.request_ended(clock.now());
    let leaving = async {
        assert_eq!(caller.ends(pending()).await, End::Full);
        drop(caller);
    };
    tokio::join!(new, leaving);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_without_a_first_request_and_when_it_is_idle() {
    let (connections, clock) = connections(4);
    // The boot-time clock is not paused with tokio's.
    let passes = async |time: Duration| {
        clock.advance(time);
        tokio::time::advance(time).await;
    };
    let unauthenticated = connections.enter().await;
    let caller = connections.enter().await;
    caller.entry.admit();
    caller.entry.request_begins();
    let (mut unauthenticated_ends, mut caller_ends) =
        (pin!(unauthenticated.ends(pending())), pin!(caller.ends(pending())));
    assert!(unauthenticated_ends.as_mut().now_or_never().is_none());
    passes(FIRST).await;
    assert_eq!(unauthenticated_ends.await, End::NoRequest);
    assert!(caller_ends.as_mut().now_or_never().is_none());
    passes(2 * IDLE).await;
    assert!(caller_ends.as_mut().now_or_never().is_none(), "a request is in progress");
    caller.entry.request_ended(clock.now());
    passes(2 * IDLE).await;
    assert_eq!(caller_ends.await, End::Idle);
}

#[tokio::test]
async fn of_unauthenticated_connections_that_read_nothing_the_longest_yields_beyond_a_few() {
    let (connections, _) = connections(UNREAD_MAX + 3);
    let caller = connections.enter().await;
    caller.entry.admit();
    caller.is_unread();
    let mut unauthenticated = Vec::new();
    for _ in 0..=UNREAD_MAX {
        let place = connections.enter().await;
        place.is_unread();
        unauthenticated.push(place);
    }
    assert_eq!((told(&caller), told(&unauthenticated[0]), told(&unauthenticated[1])), (None, Some(End::Unread), None));
    // One that reads again is no longer counted.
    unauthenticated[1].is_read();
    let next = connections.enter().await;
    next.is_unread();
    assert_eq!(told(&unauthenticated[2]), None);
}

#[tokio::test]
async fn credentials_that_have_ended_end_their_connection_once() {
    let (connections, _) = connections(1);
    let place = connections.enter().await;
    assert_eq!(place.ends(async {}).await, End::Credentials);
    assert_eq!(told(&place), Some(End::Credentials));
    drop(place);
    drop(connections.enter().await);
}

#[tokio::test]
async fn a_connection_of_refused_requests_ends_and_one_admitted_request_keeps_it() {
    let (connections, _) = connections(2);
    let (unauthenticated, caller) = (connections.enter().await, connections.enter().await);
    caller.entry.admit();
    for _ in 0..=REFUSED_MAX {
        assert_eq!(told(&unauthenticated), None);
        unauthenticated.entry.request_begins();
        caller.entry.request_begins();
    }
    for place in [&unauthenticated, &caller] {
        place.entry.request_begins();
    }
    assert_eq!([&unauthenticated, &caller].map(told), [Some(End::Refused), None]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_credentials_no_longer_count_keeps_no_place() {
    let (connections, clock) = connections(2);
    let passes = async |time: Duration| {
        clock.advance(time);
        tokio::time::advance(time).await;
    };
    let (caller, revoked) = (connections.enter().await, connections.enter().await);
    for place in [&caller, &revoked] {
        place.entry.admit();
        // A stream that stays open.
        place.entry.request_begins();
    }
    let refused = || {
        revoked.entry.request_begins();
        revoked.entry.refuse();
        revoked.entry.request_ended(clock.now());
    };
    refused();
    let mut new = pin!(connections.enter());
    assert!(new.as_mut().now_or_never().is_none());
    assert_eq!([&caller, &revoked].map(told), [None, Some(End::Full)], "an open stream does not keep it");
    drop(revoked);
    let revoked = new.await;

    revoked.entry.admit();
    revoked.entry.request_begins();
    let mut ends = pin!(revoked.ends(pending()));
    assert!(ends.as_mut().now_or_never().is_none());
    for _ in 0..REFUSED_MAX - 1 {
        revoked.entry.refuse();
        passes(IDLE / 16).await;
        revoked.entry.request_ended(clock.now());
        revoked.entry.request_begins();
    }
    assert_eq!(ends.await, End::Idle, "refused requests do not renew its time");
}

#[tokio::test]
async fn refusals_in_a_row_end_a_connection_and_an_admitted_request_among_them_keeps_it() {
    let (connections, _) = connections(2);
    let (shared, revoked) = (connections.enter().await, connections.enter().await);
    for place in [&shared, &revoked] {
        place.entry.admit();
    }
    for _ in 0..=REFUSED_MAX {
        assert_eq!(told(&revoked), None);
        revoked.entry.refuse();
        shared.entry.refuse();
        shared.entry.admit();
    }
    assert_eq!([&shared, &revoked].map(told), [None, Some(End::Refused)]);
    assert!(revoked.grace(End::Refused).is_some_and(|grace| grace >= Duration::from_secs(1)), "others may share it");
}
