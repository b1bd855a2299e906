//! How polls, rounds and own readings of the outbox make changes known.

use super::*;
use crate::model::Section;

const LEASE: Duration = Duration::from_secs(1);

fn head(number: i64, completed: i64) -> FeedHead {
    let newest = Round { number, holder: 7, completed, birth: 1, unwatched: SectionSet::NONE };
    FeedHead { is_registered: true, newest: Some(newest) }
}

/// A poll of the log that reaches the head at once.
fn poll(feed: &ChangeFeed, clock: &Clock, head: &FeedHead) -> Moment {
    let sent_at = clock.now();
    feed.record_poll(sent_at, head);
    feed.applied(sent_at, head);
    sent_at
}

#[test]
fn changes_are_known_from_the_second_poll_on_and_for_a_lease_after_the_certified_one() {
    let clock = Clock::system();
    let feed = ChangeFeed::new(LEASE, clock.clone());
    let first = poll(&feed, &clock, &head(5, 4));
    assert!(!feed.holds_at(clock.now()), "one poll certifies nothing");
    clock.advance(Duration::from_millis(100));
    poll(&feed, &clock, &head(7, 6));
    assert!(feed.holds_at(first.after(LEASE - Duration::from_millis(1))));
    assert!(!feed.holds_at(first.after(LEASE)));
    assert_eq!(feed.lost_at(first.after(2 * LEASE)), Some(first.after(LEASE)));
}

#[test]
fn rounds_that_are_not_completed_certify_nothing() {
    let clock = Clock::system();
    let feed = ChangeFeed::new(LEASE, clock.clone());
    for number in 5..50 {
        poll(&feed, &clock, &head(number, 4));
        clock.advance(Duration::from_millis(100));
    }
    assert!(!feed.holds_at(clock.now()), "one takeover after another");
}

#[test]
fn without_an_outbox_nothing_is_promised_and_nothing_flagged() {
    let clock = Clock::system();
    let feed = ChangeFeed::new(LEASE, clock.clone());
    poll(&feed, &clock, &FeedHead::default());
    assert!(!feed.holds_at(clock.now()), "there may be one that cannot be read");
    feed.has_no_outbox();
    poll(&feed, &clock, &FeedHead::default());
    assert!(feed.holds_at(clock.now()) && !feed.is_watched());
    poll(&feed, &clock, &FeedHead { is_registered: true, newest: None });
    assert!(!feed.holds_at(clock.now()) && feed.is_watched(), "from now on it needs rounds");
}

#[test]
fn a_look_of_its_own_certifies_the_moment_when_it_began_once_the_log_is_read_after_it() {
    let clock = Clock::system();
    let feed = ChangeFeed::new(LEASE, clock.clone());
    let registered = FeedHead { is_registered: true, newest: None };
    let before = clock.now();
    feed.record_look(before, SectionSet::NONE.with(Section::Strategy));
    feed.applied(before, &registered);
    assert!(!feed.holds_at(clock.now()), "that poll was sent before the look had ended");
    clock.advance(Duration::from_millis(50));
    poll(&feed, &clock, &registered);
    assert!(feed.holds_at(before.after(LEASE - Duration::from_millis(1))) && !feed.holds_at(before.after(LEASE)));
    assert!(
        feed.unwatched().contains(Section::AiAnalysis),
        "what is made from a section that is not watched is not either"
    );
}

#[tokio::test]
async fn a_wait_ends_when_the_moment_is_certified() {
    let clock = Clock::system();
    let feed = ChangeFeed::new(LEASE, clock.clone());
    let asked = clock.now();
    assert!(!feed.reaches(asked, Duration::from_millis(1)).await);
    clock.advance(Duration::from_millis(50));
    poll(&feed, &clock, &head(5, 4));
    clock.advance(Duration::from_millis(100));
    poll(&feed, &clock, &head(7, 6));
    assert!(feed.reaches(asked, Duration::from_millis(1)).await);
}
