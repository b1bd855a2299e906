//! What is due when, in a time that only these tests move.

use std::time::Duration;

use super::*;
use crate::model::{Parameters, Section, StrategyId};

const QUIET: Duration = Duration::from_secs(1);

fn config() -> config::Reassembly {
    config::Reassembly { quiet: QUIET, delay_max: 3 * QUIET, ..config::Reassembly::default() }
}

fn query(user: &str, strategy: Option<i64>) -> UserDataQuery {
    let user = UserId::parse(user).unwrap();
    UserDataQuery::new(user, strategy.and_then(StrategyId::new), Parameters::none())
}

fn scope(user: &str, strategy: Option<i64>, section: Section) -> Scope {
    let UserDataQuery { user, strategy, .. } = query(user, strategy);
    Scope { user, strategy, sections: SectionSet::NONE.with(section) }
}

fn at(tenths: u32) -> Moment {
    Moment::default().after(QUIET / 10 * tenths)
}

/// User 1's document, which was read.
fn read() -> (Readers, UserDataQuery) {
    let (mut readers, query) = (Readers::default(), query("1", None));
    assert!(!readers.read(&query, at(0)));
    (readers, query)
}

fn change(readers: &mut Readers, tenths: u32) {
    readers.change(&scope("1", None, Section::Strategy), at(tenths));
}

fn due(readers: &Readers, tenths: u32) -> Vec<Due> {
    readers.due(&config(), at(tenths))
}

#[test]
fn changes_are_due_when_they_have_been_quiet_or_have_gone_on_for_too_long() {
    let (mut readers, _) = read();
    change(&mut readers, 10);
    assert!(due(&readers, 19).is_empty());
    readers.change(&scope("1", None, Section::Performance), at(19));
    assert!(due(&readers, 28).is_empty());
    let [ref one] = due(&readers, 29)[..] else { panic!("one document") };
    assert!(one.changes.concern(Section::Strategy) && one.changes.concern(Section::Performance));
    assert!(!one.at_last);
    let (mut readers, _) = read();
    for tenths in 10..40 {
        change(&mut readers, tenths);
        assert!(due(&readers, tenths).is_empty());
    }
    assert!(due(&readers, 40)[0].at_last, "changes go on, and it is not put off for ever");
}

#[test]
fn a_change_that_was_dealt_with_is_due_no_more() {
    let (mut readers, query) = read();
    change(&mut readers, 0);
    readers.assemble(query.key());
    assert!(due(&readers, 100).is_empty());
    change(&mut readers, 100);
    readers.leave(query.key());
    assert!(due(&readers, 200).is_empty());
}

#[test]
fn only_documents_that_were_read_here_and_that_the_change_concerns_are_due() {
    let mut readers = Readers::default();
    for strategy in [None, Some(7), Some(8)] {
        readers.read(&query("1", strategy), at(0));
    }
    readers.read(&query("2", None), at(0));
    let concerned = |readers: &Readers| {
        let mut strategies: Vec<_> =
            due(readers, 20).into_iter().map(|due| due.query.strategy.map_or(0, StrategyId::get)).collect();
        strategies.sort_unstable();
        strategies
    };
    readers.change(&scope("3", None, Section::Strategy), at(0));
    assert_eq!(concerned(&readers), [0; 0]);
    readers.change(&scope("1", Some(7), Section::Strategy), at(0));
    assert_eq!(concerned(&readers), [0, 7]);
    readers.change(&scope("1", None, Section::Strategy), at(0));
    assert_eq!(concerned(&readers), [0, 7, 8]);
}

#[test]
fn documents_that_nobody_reads_are_counted_until_somebody_does() {
    let (mut readers, query) = read();
    for round in 1..=3 {
        change(&mut readers, 100 * round);
        readers.assemble(query.key());
    }
    change(&mut readers, 400);
    assert_eq!(due(&readers, 410)[0].unread, 3);
    readers.withdraw(query.key());
    assert_eq!(due(&readers, 410)[0].unread, 2, "what could not be assembled could not be read");
    readers.read(&query, at(405));
    assert_eq!(due(&readers, 420)[0].unread, 0);
}

#[test]
fn the_first_who_reads_what_was_assembled_ahead_is_told_so() {
    let (mut readers, query) = read();
    change(&mut readers, 0);
    readers.assemble(query.key());
    assert!(readers.read(&query, at(20)));
    assert!(!readers.read(&query, at(21)));
    change(&mut readers, 30);
    readers.leave(query.key());
    assert!(!readers.read(&query, at(50)), "that one had to wait");
}

#[test]
fn it_is_learned_which_changes_are_read_before_the_next_one() {
    let (mut readers, query) = read();
    for round in 1..=100 {
        change(&mut readers, 100 * round);
        readers.leave(query.key());
        // Also what was not assembled ahead.
        if round % 2 == 0 {
            readers.read(&query, at(100 * round + 50));
        }
    }
    change(&mut readers, 20_000);
    let likely = due(&readers, 20_010)[0].likely;
    assert!((0.4..0.7).contains(&likely), "{likely}");
    readers.change(&scope("1", None, Section::Performance), at(20_000));
    assert_eq!(due(&readers, 20_010)[0].likely, 1.0, "of such changes nothing is known");
}

#[test]
fn who_is_erased_is_no_reader() {
    let (mut readers, query) = read();
    change(&mut readers, 0);
    readers.change(&Scope { sections: SectionSet::ERASED, ..scope("1", None, Section::Strategy) }, at(0));
    assert!(due(&readers, 20).is_empty());
    assert_eq!((readers.documents, readers.users.len(), readers.changed.len()), (0, 0, 0));
    readers.read(&query, at(30));
    change(&mut readers, 40);
    assert_eq!(due(&readers, 60).len(), 1, "until somebody asks again");
}

#[test]
fn documents_are_bounded_and_those_read_lately_are_kept() {
    let mut readers = Readers::default();
    for user in 0..=u32::try_from(DOCUMENTS_MAX).unwrap() {
        readers.read(&query(&user.to_string(), None), at(user));
        readers.change(&scope(&user.to_string(), None, Section::Strategy), at(user));
    }
    assert!(readers.documents <= DOCUMENTS_MAX / 2 + 1, "{}", readers.documents);
    assert!(readers.changed.len() <= readers.documents, "{}", readers.changed.len());
    assert!(readers.document(query("0", None).key()).is_none());
    assert!(readers.document(query(&DOCUMENTS_MAX.to_string(), None).key()).is_some());
    for strategy in 1..100 {
        readers.read(&query("of many", Some(strategy)), at(0));
    }
    assert_eq!(readers.users[&UserId::parse("of many").unwrap()].len(), OF_ONE_USER_MAX);
}
