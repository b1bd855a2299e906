//! The trace: reads and changes with their times. A case is a user.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    time::Duration,
};

use flate2::read::GzDecoder;

use super::Changes;

/// A read or a change of a user's document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Since the trace's beginning.
    pub(crate) at: Duration,
    pub(crate) user: u32,
    pub(crate) kind: Kind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    /// The strategy changed, which the AI analysis uses.
    Strategy,
    /// The recommendations changed, which no other section uses.
    Recommendations,
}

/// Reads a trace, of at most about `cases` cases.
pub(crate) fn read(file: &Path, cases: Option<u32>, ai_from: Changes) -> Vec<Event> {
    let lines = BufReader::new(GzDecoder::new(File::open(file).unwrap())).lines();
    let events: Vec<Event> = lines.skip(1).map(|line| event(&line.unwrap(), ai_from)).collect();
    assert!(events.is_sorted_by_key(|event| event.at), "events are sorted by time");
    let users = events.iter().map(|event| event.user).max().unwrap_or_default();
    let share = cases.map_or(1.0, |cases| f64::from(cases) / f64::from(users));
    events.into_iter().filter(|event| f64::from(hash(event.user)) < share * f64::from(u32::MAX)).collect()
}

/// Half of the users: results for all have to hold for these.
pub(crate) fn is_in_half(user: u32) -> bool {
    hash(user).is_multiple_of(2)
}

/// Users are counted from 1, as ids are.
fn event(line: &str, ai_from: Changes) -> Event {
    let mut fields = line.split(',');
    let mut field = || fields.next().unwrap_or_else(|| panic!("invalid line: {line}"));
    let at = Duration::from_secs_f64(field().parse().unwrap());
    let user = field().parse::<u32>().unwrap() + 1;
    let kind = match (field(), ai_from) {
        ("R", _) => Kind::Read,
        ("WA", Changes::Wa) | ("WO", Changes::Wo) => Kind::Strategy,
        ("WA" | "WO", _) => Kind::Recommendations,
        (other, _) => panic!("unknown kind of event: {other}"),
    };
    Event { at, user, kind }
}

/// An even spread: Knuth's multiplicative hash, its halves exchanged because the low bits are not even.
fn hash(user: u32) -> u32 {
    user.wrapping_mul(2_654_435_761).rotate_left(16)
}
