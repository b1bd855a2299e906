//! What an instance concludes from its polls of the newest round.
//!
//! The holder inserts round k, reads the outbox, commits the invalidations, and then inserts round k + 1, which says that
//! k is complete. A poll that returned a round below k was sent before round k existed, so before its outbox was read:
//! everything committed in the sources before that poll was sent is in the log once k is complete.

use std::collections::VecDeque;

use super::round::Round;
use crate::clock::Moment;

/// Polls that are remembered: a few times as many as lie between two rounds.
const POLLS_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Polls {
    birth: i64,
    /// The rounds that polls have returned, and when those were sent; in the order of sending.
    sent: VecDeque<(i64, Moment)>,
    /// The newest round, and when it was first seen.
    newest: Option<(Round, Moment)>,
}

impl Polls {
    /// Takes note of a poll.
    pub(super) fn record(&mut self, sent_at: Moment, newest: Option<Round>, now: Moment) {
        let Some(round) = newest else {
            self.newest = None;
            return;
        };
        if round.birth != self.birth {
            *self = Self { birth: round.birth, ..Self::default() };
        }
        if self.sent.len() == POLLS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((round.number, sent_at));
        if self.newest.is_none_or(|(held, _)| held != round) {
            self.newest = Some((round, now));
        }
    }

    /// Up to which moment every committed change is in the log, if this round is complete.
    pub(super) fn certified_by(&self, completed: i64) -> Option<Moment> {
        self.sent.iter().rev().find(|(returned, _)| *returned < completed).map(|(_, sent_at)| *sent_at)
    }

    /// The newest round, and when it was first seen.
    pub(super) fn newest(&self) -> Option<(Round, Moment)> {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SectionSet;

    fn round(number: i64, completed: i64, birth: i64) -> Option<Round> {
        Some(Round { number, holder: 7, completed, birth, unwatched: SectionSet::NONE })
    }

    fn at(milliseconds: u64) -> Moment {
        Moment::default().after(std::time::Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_completed_round_certifies_the_latest_poll_that_returned_an_older_one() {
        let mut polls = Polls::default();
        polls.record(at(0), round(5, 4, 1), at(1));
        assert_eq!(polls.certified_by(4), None, "that poll may have been sent after round 4 was read");
        polls.record(at(100), round(7, 6, 1), at(101));
        assert_eq!(polls.certified_by(6), Some(at(0)), "not the poll that brought it");
        polls.record(at(200), round(8, 7, 1), at(201));
        assert_eq!(polls.certified_by(7), Some(at(0)), "a poll that returned round 7 says nothing about it");
        polls.record(at(300), round(9, 8, 1), at(301));
        assert_eq!(polls.certified_by(8), Some(at(100)));
    }

    #[test]
    fn another_birth_forgets_the_polls_before() {
        let mut polls = Polls::default();
        polls.record(at(0), round(5, 4, 1), at(1));
        polls.record(at(100), round(9, 8, 2), at(101));
        assert_eq!(polls.certified_by(8), None);
    }

    #[test]
    fn a_round_is_new_as_long_as_it_changes() {
        let mut polls = Polls::default();
        polls.record(at(0), round(5, 4, 1), at(1));
        polls.record(at(100), round(5, 4, 1), at(101));
        assert_eq!(polls.newest().map(|(_, since)| since), Some(at(1)));
        polls.record(at(200), round(6, 5, 1), at(201));
        assert_eq!(polls.newest().map(|(_, since)| since), Some(at(201)));
        polls.record(at(300), None, at(301));
        assert_eq!(polls.newest(), None, "the table is empty");
    }
}
