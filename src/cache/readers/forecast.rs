//! Whether changes will be read before the next ones: as often as such changes were so far.
//!
//! Such changes are those that came together and were about the same sections, one set of sections per fence: an edit of
//! a strategy, or one together with its recommendations. There is one share for each, in which older changes count less
//! and less. It learns from every change of a document that has readers here, also where nothing was assembled, so it
//! notices when a habit changes. What the same user did last time was tried in its place: readers come after certain
//! changes, not to certain users.

use std::collections::{BTreeSet, HashMap};

use crate::model::{Section, SectionSet};

/// A change weighs half of one that came some 44 later: soon enough for a habit, and no verdict on a few.
const WEIGHT: f64 = 1.0 / 64.0;
/// Shares at most; triggers know about ten sets of sections, of which few come together.
const SHARES_MAX: usize = 1024;
/// Sets of sections that are told apart in changes that came together.
const TOGETHER_MAX: usize = 8;

/// Changes that came together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Changes(BTreeSet<i64>);

impl Changes {
    /// One more, of these sections.
    pub(super) fn add(&mut self, sections: SectionSet) {
        if self.0.len() < TOGETHER_MAX {
            self.0.insert(sections.bits());
        }
    }

    /// Whether they outdate a section.
    pub(crate) fn concern(&self, section: Section) -> bool {
        self.0.iter().any(|bits| SectionSet::from_bits(*bits).with_dependents().contains(section))
    }
}

/// The shares.
#[derive(Debug, Default)]
pub(super) struct Forecast(HashMap<Changes, f64>);

impl Forecast {
    /// The share of such changes that were read before the next ones. Hopeful where nothing is known: a wrong guess
    /// costs some assemblies, after which it is none any more.
    pub(super) fn of(&self, changes: &Changes) -> f64 {
        self.0.get(changes).copied().unwrap_or(1.0)
    }

    /// One more.
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
