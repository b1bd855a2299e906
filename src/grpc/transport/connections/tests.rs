//! Who yields when all places are taken, and how long a connection may stay.

use std::pin::pin;

use futures::{FutureExt as _, future::pending};

use super::*;

const FIRST: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(300);

fn connections(number: usize) -> (Connections, Clock) {
    let clock = Clock::system();
    let limits = StayLimits { connections: number, first_request: FIRST, idle: IDLE };
    (Connections::new(limits, clock.clone(), &Meter::none()), clock)
}

/// Why a connection is told to end, if it is.
fn told(place: &ConnectionPlace) -> Option<End> {
    place.stay.end()
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_longest_without_an_admitted_request() {
    let (connections, _) = connections(3);
    let caller = connections.enter().await;
    caller.stay.admit();
    let (first, second) = (connections.enter().await, connections.enter().await);
    let mut newcomer = pin!(connections.enter());
    assert!(newcomer.as_mut().now_or_never().is_none());
    assert_eq!([&caller, &first, &second].map(told), [None, Some(End::Full), None]);
    assert_eq!(first.grace(End::Full), None, "cut off at once");
    drop(first);
    drop(newcomer.await);
}

#[tokio::test]
async fn without_a_stranger_the_longest_idle_caller_yields_and_never_a_busy_one() {
    let (connections, clock) = connections(3);
    let mut callers = Vec::new();
    for request_ended in [3, 1, 0] {
        let caller = connections.enter().await;
        caller.stay.admit();
        caller.stay.request_begins();
        if request_ended > 0 {
            caller.stay.request_ended(clock.now().after(Duration::from_secs(request_ended)));
        }
        callers.push(caller);
    }
    let mut newcomer = pin!(connections.enter());
    assert!(newcomer.as_mut().now_or_never().is_none());
    assert_eq!(callers.iter().map(told).collect::<Vec<_>>(), [None, Some(End::Full), None]);
    assert!(callers[1].grace(End::Full).is_some(), "its peer is told");
    // One newcomer costs one place, however long that takes.
    connections.make_room();
    assert_eq!(told(&callers[0]), None);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_waits_while_all_callers_are_busy_and_gets_the_first_place() {
    let (connections, clock) = connections(1);
    let caller = connections.enter().await;
    caller.stay.admit();
    caller.stay.request_begins();
    let mut newcomer = pin!(connections.enter());
    assert!(timeout(Duration::from_secs(10), newcomer.as_mut()).await.is_err());
    assert_eq!(told(&caller), None);
    caller.stay.request_ended(clock.now());
    let leaving = async {
        assert_eq!(caller.ends(pending()).await, End::Full);
        drop(caller);
    };
    tokio::join!(newcomer, leaving);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_without_a_first_request_and_when_it_is_idle() {
    let (connections, clock) = connections(4);
    // The boot-time clock is not paused with tokio's.
    let passes = async |time: Duration| {
        clock.advance(time);
        tokio::time::advance(time).await;
    };
    let stranger = connections.enter().await;
    let caller = connections.enter().await;
    caller.stay.admit();
    caller.stay.request_begins();
    let (mut stranger_ends, mut caller_ends) = (pin!(stranger.ends(pending())), pin!(caller.ends(pending())));
    assert!(stranger_ends.as_mut().now_or_never().is_none());
    passes(FIRST).await;
    assert_eq!(stranger_ends.await, End::NoRequest);
    assert!(caller_ends.as_mut().now_or_never().is_none());
    passes(2 * IDLE).await;
    assert!(caller_ends.as_mut().now_or_never().is_none(), "a request is in progress");
    caller.stay.request_ended(clock.now());
    passes(2 * IDLE).await;
    assert_eq!(caller_ends.await, End::Idle);
}

#[tokio::test]
async fn of_strangers_who_read_nothing_the_longest_yields_beyond_a_few() {
    let (connections, _) = connections(UNREAD_MAX + 3);
    let caller = connections.enter().await;
    caller.stay.admit();
    caller.is_unread();
    let mut strangers = Vec::new();
    for _ in 0..=UNREAD_MAX {
        let stranger = connections.enter().await;
        stranger.is_unread();
        strangers.push(stranger);
    }
    assert_eq!((told(&caller), told(&strangers[0]), told(&strangers[1])), (None, Some(End::Unread), None));
    // One that reads again is no longer counted.
    strangers[1].is_read();
    let next = connections.enter().await;
    next.is_unread();
    assert_eq!(told(&strangers[2]), None);
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
    let (stranger, caller) = (connections.enter().await, connections.enter().await);
    caller.stay.admit();
    for _ in 0..=REFUSED_MAX {
        assert_eq!(told(&stranger), None);
        stranger.stay.request_begins();
        caller.stay.request_begins();
    }
    for place in [&stranger, &caller] {
        place.stay.request_begins();
    }
    assert_eq!([&stranger, &caller].map(told), [Some(End::Refused), None]);
}
