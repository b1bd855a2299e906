//! Judges another instance's lease by its row and by this instance's own clock.

use std::time::Duration;

use super::{held::OutcomeRecord, work::LeaseRow};
use crate::{
    clock::Moment,
    mutant::{self, Mutant},
};

/// Another instance's lease, as last seen.
#[derive(Clone, Debug)]
pub struct LeaseWatch {
    key: String,
    row: LeaseRow,
    /// Since when the heartbeat is unchanged, by this instance's clock.
    since: Moment,
}

#[derive(Debug, PartialEq)]
pub(super) enum LeaseState {
    /// The heartbeat moves.
    Working,
    /// The work started to read before the last invalidation: the next claim replaces the row.
    Outdated,
    /// The heartbeat stopped, or the outcome is too old: the lease may be taken over.
    Expired,
    /// The work ended without a result a moment ago.
    Ended(serde_json::Value),
}

impl LeaseWatch {
    pub(super) fn new(key: String, row: LeaseRow, now: Moment) -> Self {
        Self { key, row, since: now }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn holder(&self) -> &str {
        &self.row.holder
    }

    pub(super) fn instance(&self) -> &str {
        &self.row.instance
    }

    pub(super) fn heartbeat(&self) -> i64 {
        self.row.heartbeat
    }

    /// Takes a new look at the row of the same holder into account.
    pub(super) fn update(&mut self, row: LeaseRow, now: Moment) {
        let moved = if mutant::on(Mutant::TakesOverByPosition) {
            row.read_position != self.row.read_position
        } else {
            row.heartbeat != self.row.heartbeat
        };
        if moved {
            self.since = now;
        }
        self.row = row;
    }

    pub(super) fn state(&self, now: Moment, takeover: Duration, last_invalidation: i64) -> LeaseState {
        if self.row.read_position < last_invalidation {
            return LeaseState::Outdated;
        }
        match &self.row.outcome {
            Some(text) => OutcomeRecord::read(text, self.row.now_ms).map_or(LeaseState::Expired, LeaseState::Ended),
            None if now.since(self.since) >= takeover => LeaseState::Expired,
            None => LeaseState::Working,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;

    const TAKEOVER: Duration = Duration::from_secs(5);

    fn row(heartbeat: i64) -> LeaseRow {
        LeaseRow {
            holder: "a".to_owned(),
            instance: String::new(),
            read_position: 7,
            heartbeat,
            outcome: None,
            now_ms: 100_000,
        }
    }

    fn ended(at_ms: i64) -> LeaseRow {
        let outcome = OutcomeRecord { at_ms, life_ms: 5000, value: json!("why") };
        LeaseRow { outcome: Some(serde_json::to_string(&outcome).unwrap()), ..row(0) }
    }

    #[test]
    fn a_lease_is_taken_over_when_its_heartbeat_stops_by_our_clock() {
        let clock = Clock::system();
        let mut watch = LeaseWatch::new("k".to_owned(), row(0), clock.now());
        for heartbeat in 1..4 {
            clock.advance(TAKEOVER.mul_f64(0.9));
            assert_eq!(watch.state(clock.now(), TAKEOVER, 7), LeaseState::Working, "{heartbeat}");
            watch.update(row(heartbeat), clock.now());
        }
        clock.advance(TAKEOVER.mul_f64(0.9));
        watch.update(row(3), clock.now());
        assert_eq!(watch.state(clock.now(), TAKEOVER, 7), LeaseState::Working);
        clock.advance(TAKEOVER.mul_f64(0.2));
        assert_eq!(watch.state(clock.now(), TAKEOVER, 7), LeaseState::Expired);
    }

    #[test]
    fn no_caller_waits_for_work_that_read_before_the_last_invalidation() {
        let now = Clock::system().now();
        for (row, last_invalidation, outdated) in [(row(0), 7, false), (row(0), 8, true), (ended(100_000), 8, true)] {
            let state = LeaseWatch::new("k".to_owned(), row, now).state(now, TAKEOVER, last_invalidation);
            assert_eq!(state == LeaseState::Outdated, outdated, "{last_invalidation}");
        }
    }

    #[test]
    fn an_outcome_is_shared_while_it_is_young_by_the_databases_clock() {
        let now = Clock::system().now();
        let state = |row| LeaseWatch::new("k".to_owned(), row, now).state(now, TAKEOVER, 0);
        for at_ms in [100_000, 95_001] {
            assert_eq!(state(ended(at_ms)), LeaseState::Ended(json!("why")), "{at_ms}");
        }
        // Left by a holder that died, or before the clock was set back.
        for at_ms in [94_999, 0, 100_001 + 5000] {
            assert_eq!(state(ended(at_ms)), LeaseState::Expired, "{at_ms}");
        }
        assert_eq!(state(LeaseRow { outcome: Some("?".to_owned()), ..row(0) }), LeaseState::Expired);
    }
}
