//! Which changes are due when, with a clock that only these tests move.

use std::time::Duration;

use super::*;
use crate::model::{Parameters, Section, StrategyId};

const QUIET: Duration = Duration::from_secs(1);

fn config() -> config::PrefetchSettings {
    config::PrefetchSettings { quiet: QUIET, delay_max: 3 * QUIET, ..config::PrefetchSettings::default() }
}

fn query(user: &str, strategy: Option<i64>) -> UserDataQuery {
    let user = UserId::parse(user).unwrap();
    UserDataQuery::new(user, strategy.and_then(StrategyId::new), Parameters::none())
}

fn scope(user: &str, strategy: Option<i64>, section: Section) -> Scope<UserHash> {
    let UserDataQuery { user, strategy, .. } = query(user, strategy);
    Scope { user: UserHash::of(&user), strategy, sections: SectionSet::NONE.with(section) }
}

fn at(tenths: u32) -> Moment {
    Moment::default().after(QUIET / 10 * tenths)
}

/// User 1's document, which was read.
fn read() -> (Documents, UserDataQuery) {
    let (mut documents, query) = (Documents::default(), query("1", None));
    assert!(!documents.read(&query, at(0)));
    (documents, query)
}

fn change(documents: &mut Documents, tenths: u32) {
    documents.change(&scope("1", None, Section::Strategy), at(tenths));
}

fn due(documents: &Documents, tenths: u32) -> Vec<Due> {
    documents.due(&config(), at(tenths))
}

#[test]
fn changes_are_due_after_a_quiet_period_or_at_the_latest_after_the_longest_delay() {
    let (mut documents, _) = read();
    change(&mut documents, 10);
    assert!(due(&documents, 19).is_empty());
    documents.change(&scope("1", None, Section::Performance), at(19));
    assert!(due(&documents, 28).is_empty());
    let [ref one] = due(&documents, 29)[..] else { panic!("one document") };
    assert!(one.changes.concern(Section::Strategy) && one.changes.concern(Section::Performance));
    assert!(!one.is_last_chance);
    let (mut documents, _) = read();
    for tenths in 10..40 {
        change(&mut documents, tenths);
        assert!(due(&documents, tenths).is_empty());
    }
    assert!(due(&documents, 40)[0].is_last_chance, "changes go on, and it is not put off for ever");
}

#[test]
fn a_handled_change_is_no_longer_due() {
    let (mut documents, query) = read();
    change(&mut documents, 0);
    documents.prefetch(query.key());
    assert!(due(&documents, 100).is_empty());
    change(&mut documents, 100);
    documents.skip(query.key());
    assert!(due(&documents, 200).is_empty());
}

#[test]
fn only_documents_that_were_read_here_and_that_the_change_concerns_are_due() {
    let mut documents = Documents::default();
    for strategy in [None, Some(7), Some(8)] {
        documents.read(&query("1", strategy), at(0));
    }
    documents.read(&query("2", None), at(0));
    let concerned = |documents: &Documents| {
        let mut strategies: Vec<_> =
            due(documents, 20).into_iter().map(|due| due.query.strategy.map_or(0, StrategyId::get)).collect();
        strategies.sort_unstable();
        strategies
    };
    documents.change(&scope("3", None, Section::Strategy), at(0));
    assert_eq!(concerned(&documents), [0; 0]);
    documents.change(&scope("1", Some(7), Section::Strategy), at(0));
    assert_eq!(concerned(&documents), [0, 7]);
    documents.change(&scope("1", None, Section::Strategy), at(0));
    assert_eq!(concerned(&documents), [0, 7, 8]);
}

#[test]
fn documents_without_readers_are_counted_until_the_next_read() {
    let (mut documents, query) = read();
    for round in 1..=3 {
        change(&mut documents, 100 * round);
        documents.prefetch(query.key());
    }
    change(&mut documents, 400);
    assert_eq!(due(&documents, 410)[0].unread, 3);
    documents.withdraw(query.key());
    assert_eq!(due(&documents, 410)[0].unread, 2, "what could not be assembled could not be read");
    documents.read(&query, at(405));
    assert_eq!(due(&documents, 420)[0].unread, 0);
}

#[test]
fn the_first_read_of_a_prefetched_document_is_reported() {
    let (mut documents, query) = read();
    change(&mut documents, 0);
    documents.prefetch(query.key());
    assert!(documents.read(&query, at(20)));
    assert!(!documents.read(&query, at(21)));
    change(&mut documents, 30);
    documents.skip(query.key());
    assert!(!documents.read(&query, at(50)), "that one had to wait");
}

#[test]
fn the_forecast_learns_which_changes_are_read_before_the_next_one() {
    let (mut documents, query) = read();
    for round in 1..=100 {
        change(&mut documents, 100 * round);
        documents.skip(query.key());
        // Documents that were not prefetched count as well.
        if round % 2 == 0 {
            documents.read(&query, at(100 * round + 50));
        }
    }
    change(&mut documents, 20_000);
    let likely = due(&documents, 20_010)[0].likely;
    assert!((0.4..0.7).contains(&likely), "{likely}");
    documents.change(&scope("1", None, Section::Performance), at(20_000));
    assert_eq!(due(&documents, 20_010)[0].likely, 1.0, "of such changes nothing is known");
}

#[test]
fn a_purged_user_has_no_readers() {
    let (mut documents, query) = read();
    change(&mut documents, 0);
    documents.change(&Scope { sections: SectionSet::ERASED, ..scope("1", None, Section::Strategy) }, at(0));
    assert!(due(&documents, 20).is_empty());
    assert_eq!((documents.count, documents.users.len(), documents.changed.len()), (0, 0, 0));
    documents.read(&query, at(30));
    change(&mut documents, 40);
    assert_eq!(due(&documents, 60).len(), 1, "until the next read");
}

#[test]
fn documents_are_bounded_and_those_read_lately_are_kept() {
    let mut documents = Documents::default();
    for user in 0..=u32::try_from(DOCUMENTS_MAX).unwrap() {
        documents.read(&query(&user.to_string(), None), at(user));
        documents.change(&scope(&user.to_string(), None, Section::Strategy), at(user));
    }
    assert!(documents.count <= DOCUMENTS_MAX / 2 + 1, "{}", documents.count);
    assert!(documents.changed.len() <= documents.count, "{}", documents.changed.len());
    assert!(documents.document(query("0", None).key()).is_none());
    assert!(documents.document(query(&DOCUMENTS_MAX.to_string(), None).key()).is_some());
    for strategy in 1..100 {
        documents.read(&query("of many", Some(strategy)), at(0));
    }
    assert_eq!(documents.users[&UserHash::of(&UserId::parse("of many").unwrap())].len(), OF_ONE_USER_MAX);
}
