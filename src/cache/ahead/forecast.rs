//! Whether a change will be read before the next one: as often as changes of the same sections were so far.
//!
//! One share per set of changed sections, in which older changes count less and less. It learns from every change of a
//! document that has readers here, also where nothing was assembled, so it notices when a habit changes. What a user
//! did last time was tried in its place: readers come after certain changes, not to certain users.

use crate::model::{SectionSet, section};

/// A change weighs half of one that came some 44 later: soon enough for a habit, and no verdict on a few.
const WEIGHT: f64 = 1.0 / 64.0;
/// A row for every set of the known sections.
const SETS: usize = 1 << section::SECTIONS.len();

/// The shares.
#[derive(Debug)]
pub(super) struct Forecast([f64; SETS]);

impl Default for Forecast {
    /// Hopeful: a wrong guess costs some assemblies, after which it is none any more.
    fn default() -> Self {
        Self([1.0; SETS])
    }
}

impl Forecast {
    /// The share of such changes that were read before the next one.
    pub(super) fn of(&self, changed: SectionSet) -> f64 {
        self.0[row(changed)]
    }

    /// One more.
    pub(super) fn learn(&mut self, changed: SectionSet, was_read: bool) {
        let share = &mut self.0[row(changed)];
        *share += WEIGHT * (if was_read { 1.0 } else { 0.0 } - *share);
    }
}

fn row(changed: SectionSet) -> usize {
    changed.iter().map(|one| 1 << section::index(one)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Section;

    #[test]
    fn it_follows_what_happens_to_such_changes_and_to_no_others() {
        let mut forecast = Forecast::default();
        let strategy = SectionSet::NONE.with(Section::Strategy);
        let both = strategy.with(Section::Onboarding);
        (0..60).for_each(|_| forecast.learn(strategy, false));
        assert!(forecast.of(strategy) < 0.5, "{}", forecast.of(strategy));
        assert_eq!(forecast.of(both), 1.0);
        (0..60).for_each(|_| forecast.learn(strategy, true));
        assert!(forecast.of(strategy) > 0.5, "{}", forecast.of(strategy));
        (0..300).for_each(|n| forecast.learn(both, n % 4 == 0));
        assert!((0.2..0.3).contains(&forecast.of(both)), "{}", forecast.of(both));
    }
}
