//! The entries that an instance has applied last, with their nonces.
//!
//! If the database turns out to be another one, for example after a failover, they tell which entries that one lacks.

use std::collections::VecDeque;

use super::row::LogRow;
use crate::model::Invalidation;

/// Entries kept. An instance that has lost more begins an epoch, which costs as little as so many entries would.
const KEPT_MAX: usize = 1000;

/// Entries without a gap, up to the last one applied.
#[derive(Debug)]
pub(super) struct RecentEntries {
    rows: VecDeque<LogRow>,
    /// Whether they are all that was applied in this epoch.
    is_whole: bool,
}

impl Default for RecentEntries {
    fn default() -> Self {
        Self { rows: VecDeque::new(), is_whole: true }
    }
}

impl RecentEntries {
    /// Adds entries that are applied after the one at `applied`.
    pub(super) fn add(&mut self, rows: &[LogRow], applied: i64) {
        let mut last = applied;
        for row in rows {
            if row.position != last + 1 {
                self.forget();
            }
            last = row.position;
            if self.rows.len() == KEPT_MAX {
                self.rows.pop_front();
                self.is_whole = false;
            }
            self.rows.push_back(row.clone());
        }
    }

    /// What was applied before is not known any more.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        self.is_whole = false;
    }

    /// The positions from the one before the first entry to the last one. None without any.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        Some((self.rows.front()?.position - 1, self.rows.back()?.position))
    }

    /// None if the entry at this position is not kept.
    pub(super) fn nonce_at(&self, position: i64) -> Option<i64> {
        let index = usize::try_from(position - self.rows.front()?.position).ok()?;
        self.rows.get(index).map(|row| row.nonce)
    }

    /// The entries that another log lacks, of which these rows are at their positions. None if there may be more than are
    /// kept here.
    pub(super) fn lacking(&self, there: &[LogRow]) -> Option<Vec<Invalidation>> {
        let is_there =
            |row: &LogRow| there.iter().any(|other| (other.position, other.nonce) == (row.position, row.nonce));
        // Two logs are the same up to some entry, and differ in all later ones.
        let common = self.rows.partition_point(is_there);
        let is_known = common > 0 || self.is_whole;
        is_known.then(|| self.rows.range(common..).map(|row| row.invalidation.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SectionSet;

    fn rows(positions: std::ops::RangeInclusive<i64>, nonce: i64) -> Vec<LogRow> {
        positions
            .map(|position| LogRow { position, invalidation: Invalidation::OfEveryone(SectionSet::ALL), nonce })
            .collect()
    }

    #[test]
    fn what_another_log_lacks_is_known_as_long_as_the_last_common_entry_is_kept() {
        let mut recent = RecentEntries::default();
        assert_eq!(recent.span(), None);
        recent.add(&rows(1..=900, 7), 0);
        let lacking = |recent: &RecentEntries, there: &[LogRow]| recent.lacking(there).map(|lost| lost.len());
        assert_eq!(lacking(&recent, &rows(1..=800, 7)), Some(100));
        assert_eq!(lacking(&recent, &[rows(1..=800, 7), rows(801..=900, 8)].concat()), Some(100), "others are there");
        assert_eq!(lacking(&recent, &[]), Some(900), "they are all that was applied");
        recent.add(&rows(901..=1500, 7), 900);
        assert_eq!(recent.span(), Some((500, 1500)));
        assert_eq!((lacking(&recent, &rows(1..=501, 7)), lacking(&recent, &rows(1..=500, 7))), (Some(999), None));
        recent.add(&rows(1502..=1502, 7), 1500);
        assert_eq!((lacking(&recent, &rows(1502..=1502, 7)), lacking(&recent, &[])), (Some(0), None), "after a gap");
    }
}
