//! How likely it is that a request reads a document before its next change.
//!
//! The forecast is the share of similar changes that were read. Changes are similar if they arrived together for the same
//! sections: an edit of a strategy, or one of a strategy and its recommendations. In each share older changes weigh less.
//! It learns from every change of a document with readers, prefetched or not, so it follows a change of habits.
//! Rejected: a forecast by user, because reads follow certain changes rather than certain users.

use std::collections::{BTreeSet, HashMap};

use crate::model::{Section, SectionSet};

/// The weight of the newest change. Some 44 changes later it counts half, so a few changes decide nothing.
const WEIGHT: f64 = 1.0 / 64.0;
/// Shares at most. Triggers record about ten sets of sections, and few of them arrive together.
const SHARES_MAX: usize = 1024;
/// Sets of sections at most in one group of changes.
const TOGETHER_MAX: usize = 8;

/// Changes that arrived together, one set of sections each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Changes(BTreeSet<i64>);

impl Changes {
    pub(super) fn add(&mut self, sections: SectionSet) {
        if self.0.len() < TOGETHER_MAX {
            self.0.insert(sections.bits());
        }
    }

    /// Whether they outdate a section, directly or through one that it depends on.
    pub(crate) fn concern(&self, section: Section) -> bool {
        self.0.iter().any(|bits| SectionSet::from_bits(*bits).with_dependents().contains(section))
    }
}

/// The share of read changes, by group.
#[derive(Debug, Default)]
pub(super) struct Forecast(HashMap<Changes, f64>);

impl Forecast {
    /// The share of such changes that were read before the next one. 1 without experience: a wrong guess costs a few
    /// loads until the share adapts.
    pub(super) fn of(&self, changes: &Changes) -> f64 {
        self.0.get(changes).copied().unwrap_or(1.0)
    }

    pub(super) fn learn(&mut self, changes: &Changes, were_read: bool) {
        if self.0.len() >= SHARES_MAX && !self.0.contains_key(changes) {
            return;
        }
        let share = self.0.entry(changes.clone()).or_insert(1.0);
        *share += WEIGHT * (if were_read { 1.0 } else { 0.0 } - *share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(of: &[&[Section]]) -> Changes {
        let mut changes = Changes::default();
        of.iter().for_each(|sections| changes.add(sections.iter().copied().collect()));
        changes
    }

    #[test]
    fn it_follows_what_happens_to_such_changes_and_to_no_others() {
        use Section::{Recommendations, Strategy};
        let mut forecast = Forecast::default();
        let (one, both) =
            (changes(&[&[Strategy, Recommendations]]), changes(&[&[Strategy, Recommendations], &[Strategy]]));
        (0..60).for_each(|_| forecast.learn(&one, false));
        assert!(forecast.of(&one) < 0.5, "{}", forecast.of(&one));
        assert_eq!(forecast.of(&both), 1.0, "of the same sections, and yet others");
        (0..60).for_each(|_| forecast.learn(&one, true));
        assert!(forecast.of(&one) > 0.5, "{}", forecast.of(&one));
        (0..300).for_each(|n| forecast.learn(&both, n % 4 == 0));
        assert!((0.2..0.3).contains(&forecast.of(&both)), "{}", forecast.of(&both));
    }

    #[test]
    fn its_memory_is_bounded() {
        let mut forecast = Forecast::default();
        for bits in 1..3000 {
            let mut changes = Changes::default();
            (0..20).for_each(|more| changes.add(SectionSet::from_bits(bits + 4096 * more)));
            assert!(changes.0.len() <= TOGETHER_MAX);
            forecast.learn(&changes, false);
        }
        assert_eq!(forecast.0.len(), SHARES_MAX);
    }

    #[test]
    fn changes_concern_what_is_made_from_what_they_are_about() {
        assert!(changes(&[&[Section::Performance], &[Section::Strategy]]).concern(Section::AiAnalysis));
        assert!(!changes(&[&[Section::Performance]]).concern(Section::AiAnalysis));
    }
}
