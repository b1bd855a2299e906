//! Judging somebody else's lease by what is seen of it, and by one's own clock.

use std::time::Duration;

use super::{held::Note, table::Row};
use crate::{
    clock::Moment,
    mutant::{self, Mutant},
};

/// Somebody else's lease.
#[derive(Clone, Debug)]
pub struct Watch {
    key: String,
    row: Row,
    /// Since when the row looks like that, by our clock.
    since: Moment,
}

/// What is to be thought of a lease.
#[derive(Debug, PartialEq)]
pub(super) enum Sight {
    /// Its holder is alive, as far as can be told.
    Working,
    /// Its work began below the fence: whoever asks is given the lease.
    Outdated,
    /// It can be taken over.
    Over,
    /// Its work ended without a result, a moment ago.
    Ended(serde_json::Value),
}

impl Watch {
    pub(super) fn new(key: String, row: Row, now: Moment) -> Self {
        Self { key, row, since: now }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn holder(&self) -> &str {
        &self.row.holder
    }

    pub(super) fn beat(&self) -> i64 {
        self.row.beat
    }

    /// The row was looked at again, and still has the same holder.
    pub(super) fn update(&mut self, row: Row, now: Moment) {
        let moved =
            if mutant::on(Mutant::TakesOverByPosition) { row.s != self.row.s } else { row.beat != self.row.beat };
        if moved {
            self.since = now;
        }
        self.row = row;
    }

    pub(super) fn sight(&self, now: Moment, takeover: Duration, fence: i64) -> Sight {
        if self.row.s < fence {
            return Sight::Outdated;
        }
        match &self.row.outcome {
            Some(text) => Note::read(text, self.row.now_ms).map_or(Sight::Over, Sight::Ended),
            None if now.since(self.since) >= takeover => Sight::Over,
            None => Sight::Working,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;

    const TAKEOVER: Duration = Duration::from_secs(5);

    fn row(beat: i64) -> Row {
        Row { holder: "a".to_owned(), s: 7, beat, outcome: None, now_ms: 100_000 }
    }

    fn ended(at_ms: i64) -> Row {
        let note = Note { at_ms, life_ms: 5000, value: json!("why") };
        Row { outcome: Some(serde_json::to_string(&note).unwrap()), ..row(0) }
    }

    #[test]
    fn a_lease_is_taken_over_when_its_beat_stands_still_by_our_clock() {
        let clock = Clock::system();
        let mut watch = Watch::new("k".to_owned(), row(0), clock.now());
        for beat in 1..4 {
            clock.advance(TAKEOVER.mul_f64(0.9));
            assert_eq!(watch.sight(clock.now(), TAKEOVER, 7), Sight::Working, "{beat}");
            watch.update(row(beat), clock.now());
        }
        clock.advance(TAKEOVER.mul_f64(0.9));
        watch.update(row(3), clock.now());
        assert_eq!(watch.sight(clock.now(), TAKEOVER, 7), Sight::Working);
        clock.advance(TAKEOVER.mul_f64(0.2));
        assert_eq!(watch.sight(clock.now(), TAKEOVER, 7), Sight::Over);
    }

    #[test]
    fn nobody_waits_for_work_begun_below_its_fence() {
        let now = Clock::system().now();
        for (row, fence, outdated) in [(row(0), 7, false), (row(0), 8, true), (ended(100_000), 8, true)] {
            let sight = Watch::new("k".to_owned(), row, now).sight(now, TAKEOVER, fence);
            assert_eq!(sight == Sight::Outdated, outdated, "{fence}");
        }
    }

    #[test]
    fn an_outcome_is_shared_while_it_is_young_by_the_databases_clock() {
        let now = Clock::system().now();
        let sight = |row| Watch::new("k".to_owned(), row, now).sight(now, TAKEOVER, 0);
        for at_ms in [100_000, 95_001] {
            assert_eq!(sight(ended(at_ms)), Sight::Ended(json!("why")), "{at_ms}");
        }
        // Left by a holder that died, or before the clock was set back.
        for at_ms in [94_999, 0, 100_001 + 5000] {
            assert_eq!(sight(ended(at_ms)), Sight::Over, "{at_ms}");
        }
        assert_eq!(sight(Row { outcome: Some("?".to_owned()), ..row(0) }), Sight::Over);
    }
}
