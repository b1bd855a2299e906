//! One instance's copy of the invalidation log: the last invalidation of every scope.
//!
//! Invariant: raising the low watermark is always safe, because it only outdates more snapshots. So the low watermark
//! stands in for every row that the copy does not hold.

use std::sync::Arc;

use super::{positions::Positions, recent::RecentEntries, row::LogRow, scopes::Scopes, validity::LogValidity};
use crate::{
    cache::watched_files::{FileState, WatchedFiles, log_epoch, unknown_epoch},
    model::{CacheKey, Invalidation, Scope, Section, SectionSet, Snapshot, UserHash, UserId},
    mutant::{self, Mutant},
};

#[derive(Debug)]
pub(super) struct LocalCopy {
    pub(super) epoch: Arc<str>,
    /// All rows up to this position are applied.
    pub(super) applied: i64,
    /// The nonce of the row at `applied`. None at or below the low watermark.
    pub(super) nonce: Option<i64>,
    /// Everything read below this position counts as outdated.
    low_watermark: i64,
    /// Of every user's documents.
    everyone: Positions,
    scopes: Scopes,
    /// The last entries that were applied.
    pub(super) recent: RecentEntries,
    /// Scopes invalidated since they were last taken. None: not recorded.
    recorded: Option<Vec<Scope<UserHash>>>,
}

/// Recorded scopes at most; further ones are dropped. An instance cannot prefetch more of them between two looks.
const RECORDED_MAX: usize = 4096;

impl LocalCopy {
    /// Belongs to no epoch, so no stored snapshot is valid.
    pub(super) fn empty() -> Self {
        Self::adopted("".into(), 0)
    }

    /// The empty copy of a log that is trimmed up to `low_watermark`.
    pub(super) fn adopted(epoch: Arc<str>, low_watermark: i64) -> Self {
        Self {
            epoch,
            applied: low_watermark,
            nonce: None,
            low_watermark,
            everyone: Positions::default(),
            scopes: Scopes::above(low_watermark),
            recent: RecentEntries::default(),
            recorded: None,
        }
    }

    /// Starts again with an empty copy of another log. Recorded scopes stay.
    pub(super) fn adopt(&mut self, epoch: Arc<str>, low_watermark: i64) {
        let recorded = self.recorded.take();
        *self = Self { recorded, ..Self::adopted(epoch, low_watermark) };
    }

    pub(super) fn record_scopes(&mut self) {
        self.recorded.get_or_insert_default();
    }

    pub(super) fn take_recorded_scopes(&mut self) -> Vec<Scope<UserHash>> {
        self.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Applies the rows above `applied`, up to `head`.
    pub(super) fn apply(&mut self, rows: &[LogRow], head: i64, low_watermark: i64, scopes_max: usize) {
        if head > self.scopes.reach() {
            self.raise_low_watermark(head - i64::from(u32::MAX / 2));
            self.scopes.start_at(self.low_watermark);
        }
        for row in rows {
            self.apply_row(row);
        }
        if let Some(last) = rows.last() {
            self.nonce = Some(last.nonce);
        }
        self.recent.add(rows, self.applied);
        self.applied = head;
        self.raise_low_watermark(low_watermark);
        if self.scopes.len() > scopes_max {
            self.scopes.sweep(self.low_watermark);
        }
        if self.scopes.len() > scopes_max {
            let oldest = self.scopes.oldest(self.scopes.len() - scopes_max + scopes_max / 10);
            self.raise_low_watermark(oldest);
            self.scopes.sweep(oldest);
        }
    }

    /// Goes on above `position`, which has this nonce; what the rows below it would outdate counts as outdated.
    pub(super) fn skip_to(&mut self, position: i64, nonce: Option<i64>) {
        self.raise_low_watermark(position);
        (self.applied, self.nonce) = (position, nonce);
        self.recent.forget();
    }

    /// From now on everything read below `position` counts as outdated. Invalidations up to it need not be held.
    pub(super) fn raise_low_watermark(&mut self, position: i64) {
        if position <= self.low_watermark {
            return;
        }
        if mutant::on(Mutant::PrunesWithoutTheLowWatermark) {
            return self.scopes.sweep(position);
        }
        self.low_watermark = position;
        // What stands below it does no harm until then.
        self.scopes.sweep_if_due(position);
    }

    fn apply_row(&mut self, row: &LogRow) {
        match &row.invalidation {
            Invalidation::Of(scope) => self.apply_scope(scope, row.position),
            Invalidation::OfEveryone(sections) => self.everyone.raise(*sections, row.position),
        }
    }

    fn apply_scope(&mut self, scope: &Scope<UserHash>, position: i64) {
        if let Some(recorded) = self.recorded.as_mut().filter(|recorded| recorded.len() < RECORDED_MAX) {
            recorded.push(scope.clone());
        }
        self.scopes.raise(scope, position);
    }

    /// Whether everything that the entry concerns has an invalidation at `position` or above.
    pub(super) fn invalidates(&self, entry: &Invalidation, position: i64) -> bool {
        let mut held = self.everyone;
        let sections = match entry {
            Invalidation::OfEveryone(sections) => sections,
            Invalidation::Of(scope) => {
                held.merge(&self.scopes.of(scope));
                &scope.sections
            }
        };
        sections.iter().all(|section| held.of(section).max(self.low_watermark) >= position)
    }

    pub(super) fn view(&self, key: &CacheKey) -> LogView {
        let mut positions = self.everyone;
        positions.merge(&self.scopes.concerning(key));
        LogView {
            epoch: Arc::clone(&self.epoch),
            applied: self.applied,
            low_watermark: self.low_watermark,
            positions,
            file: LogValidity::Verified,
        }
    }
}

/// The invalidations of one key that an instance has applied at one moment.
#[derive(Clone, Debug)]
pub struct LogView {
    /// Of the documents that can be judged. Where each user has a file, it also names the state of the file.
    pub epoch: Arc<str>,
    /// The position up to which the log was applied: the read position of a load that starts now.
    pub applied: i64,
    low_watermark: i64,
    positions: Positions,
    /// How far the state of the user's file is known.
    pub file: LogValidity,
}

impl LogView {
    /// The view of documents that were read from the last known state of the user's file.
    pub(super) fn of_user(self, files: &WatchedFiles, user: &UserId) -> Self {
        let state = files.state(user);
        let file = state.as_ref().map_or(LogValidity::Expired, |state| files.validity(state));
        let epoch = match state.filter(|_| file != LogValidity::Expired) {
            Some(state) => state.epoch(&self.epoch),
            None => unknown_epoch(&self.epoch),
        };
        Self { epoch, file, ..self }
    }

    /// The view of documents that are read from this state of the user's file.
    pub(in crate::cache) fn of_state(&self, state: &FileState) -> Self {
        Self { epoch: state.epoch(&log_epoch(&self.epoch)), ..self.clone() }
    }

    /// The position of the last invalidation of any section. A load with a lower read position may not be joined.
    #[must_use]
    pub fn last_invalidation(&self) -> i64 {
        self.positions.highest().max(self.low_watermark)
    }

    /// Whether this instance can judge a stored snapshot: the snapshot is of the same epoch, and its read positions are
    /// applied here. Above the applied position there may be invalidations that this instance has not read.
    #[must_use]
    pub fn can_judge(&self, snapshot: &Snapshot) -> bool {
        (snapshot.epoch == self.epoch || mutant::on(Mutant::IgnoresTheEpoch))
            && snapshot.read_position_max() <= self.applied
    }

    /// Whether no invalidation of the section is above `read_position`.
    #[must_use]
    pub fn is_valid(&self, section: Section, read_position: i64) -> bool {
        read_position >= self.positions.of(section).max(self.low_watermark)
    }

    /// Whether every requested section of a snapshot can be served.
    #[must_use]
    pub fn admits(&self, snapshot: &Snapshot, requested: SectionSet) -> bool {
        self.can_judge(snapshot)
            && snapshot
                .sections
                .iter()
                .filter(|section| requested.contains(section.facts.section))
                .all(|section| self.is_valid(section.facts.section, section.read_position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Parameters, StrategyId, UserDataQuery, section};

    fn key(user: &str, strategy: Option<i64>) -> CacheKey {
        let user = UserId::parse(user).unwrap();
        UserDataQuery::new(user, strategy.and_then(StrategyId::new), Parameters::none()).key().clone()
    }

    fn scope(user: &str, strategy: Option<i64>, sections: SectionSet) -> Invalidation {
        let (user, strategy) = (UserId::parse(user).unwrap(), strategy.and_then(StrategyId::new));
        Invalidation::Of(Scope { user, strategy, sections }.hashed())
    }

    fn row(position: i64, user: &str, strategy: Option<i64>, sections: SectionSet) -> LogRow {
        LogRow { position, invalidation: scope(user, strategy, sections), nonce: position * 7 }
    }

    fn row_of_everyone(position: i64, sections: SectionSet) -> LogRow {
        LogRow { position, invalidation: Invalidation::OfEveryone(sections), nonce: position * 7 }
    }

    fn copy(rows: &[LogRow]) -> LocalCopy {
        let mut copy = LocalCopy::adopted("i".into(), 0);
        copy.apply(rows, rows.len().try_into().unwrap(), 0, 1000);
        copy
    }

    #[test]
    fn an_invalidation_concerns_its_scope_and_nothing_else() {
        let copy = copy(&[row(1, "1", None, SectionSet::ALL), row(2, "2", Some(7), SectionSet::ALL)]);
        for (user, strategy, last_invalidation) in
            [("1", None, 1), ("1", Some(7), 1), ("2", None, 2), ("2", Some(7), 2), ("2", Some(8), 0), ("3", None, 0)]
        {
            assert_eq!(copy.view(&key(user, strategy)).last_invalidation(), last_invalidation, "{user} {strategy:?}");
        }
        for (user, strategy, position, invalidated) in [
            ("1", None, 1, true),
            ("1", None, 2, false),
            ("2", Some(7), 2, true),
            ("2", Some(8), 2, false),
            ("2", None, 2, false),
        ] {
            assert_eq!(
                copy.invalidates(&scope(user, strategy, SectionSet::ALL), position),
                invalidated,
                "{user} {strategy:?} {position}"
            );
        }
    }

    #[test]
    fn an_invalidation_of_everyone_concerns_its_sections_of_all_users_and_of_no_prefetch() {
        let gap = SectionSet::NONE.with(Section::GapAnalysis);
        let mut copy = LocalCopy::adopted("i".into(), 0);
        copy.record_scopes();
        copy.apply(&[row(1, "1", Some(7), SectionSet::ALL), row_of_everyone(2, gap)], 2, 0, 1000);
        for (user, strategy, performance) in [("1", None, 1), ("1", Some(7), 1), ("1", Some(8), 0), ("2", None, 0)] {
            let view = copy.view(&key(user, strategy));
            assert_eq!(view.last_invalidation(), 2, "{user} {strategy:?}");
            assert!(view.is_valid(Section::GapAnalysis, 2) && !view.is_valid(Section::GapAnalysis, 1));
            assert!(view.is_valid(Section::Performance, performance), "{user} {strategy:?}");
        }
        assert!(copy.invalidates(&Invalidation::OfEveryone(gap), 2));
        assert!(copy.invalidates(&scope("3", None, gap), 2), "a later entry of everyone covers a scope");
        assert!(!copy.invalidates(&Invalidation::OfEveryone(SectionSet::ALL), 2));
        let recorded: Vec<Invalidation> = copy.take_recorded_scopes().into_iter().map(Invalidation::Of).collect();
        assert_eq!(recorded, [scope("1", Some(7), SectionSet::ALL)]);
        copy.raise_low_watermark(2);
        assert!(copy.view(&key("9", None)).is_valid(Section::GapAnalysis, 2));
    }

    #[test]
    fn an_invalidation_of_a_section_also_invalidates_what_is_made_from_it() {
        let view = copy(&[row(1, "1", None, SectionSet::NONE.with(Section::Strategy))]).view(&key("1", None));
        for section in section::SECTIONS {
            let outdated =
                matches!(section, Section::Strategy | Section::AiAnalysis | Section::GapAnalysis | Section::Derived);
            assert_eq!(view.is_valid(section, 0), !outdated, "{section:?}");
            assert!(view.is_valid(section, 1));
        }
        assert_eq!(view.last_invalidation(), 1);
    }

    #[test]
    fn the_low_watermark_covers_what_is_no_longer_held() {
        let mut copy = copy(&[row(1, "1", None, SectionSet::ALL), row(2, "2", Some(7), SectionSet::ALL)]);
        copy.raise_low_watermark(1);
        copy.scopes.sweep(1);
        assert_eq!(copy.scopes.len(), 2, "user 2's strategy, and any of them");
        assert_eq!(copy.view(&key("1", None)).last_invalidation(), 1);
        assert_eq!(copy.view(&key("3", None)).last_invalidation(), 1);
        assert_eq!(copy.view(&key("2", Some(7))).last_invalidation(), 2);
    }

    #[test]
    fn too_many_scopes_raise_the_low_watermark_by_the_oldest_tenth_instead_of_growing() {
        let mut copy = LocalCopy::adopted("i".into(), 0);
        let rows: Vec<LogRow> = (1..=11).map(|n| row(n, &n.to_string(), None, SectionSet::ALL)).collect();
        copy.apply(&rows, 11, 0, 10);
        assert_eq!(
            (copy.scopes.len(), copy.view(&key("99", None)).last_invalidation()),
            (9, 2),
            "the oldest tenth goes"
        );
    }

    #[test]
    fn positions_further_apart_than_four_bytes_raise_the_low_watermark() {
        let far = i64::from(u32::MAX) + 10;
        let mut copy = copy(&[row(1, "1", None, SectionSet::ALL)]);
        copy.skip_to(far - 2, None);
        copy.apply(&[row(far - 1, "2", None, SectionSet::ALL), row(far, "3", Some(7), SectionSet::ALL)], far, 0, 1000);
        for (user, last_invalidation) in [("1", far - 2), ("2", far - 1), ("3", far)] {
            assert_eq!(copy.view(&key(user, None)).last_invalidation(), last_invalidation, "{user}");
        }
        copy.apply(&[row(2 * far, "4", None, SectionSet::ALL)], 2 * far, 0, 1000);
        assert_eq!(copy.view(&key("4", None)).last_invalidation(), 2 * far);
        assert!(copy.view(&key("3", None)).last_invalidation() > far);
    }

    #[test]
    fn a_million_scopes_take_less_than_120_mb() {
        const SCOPES: i64 = 1_000_000;
        let mut copy = LocalCopy::adopted("i".into(), 0);
        let filled = allocation_counter::measure(|| {
            for page in 0..SCOPES / 2000 {
                let rows: Vec<LogRow> = (1..=2000)
                    .map(|n| row(page * 2000 + n, &format!("user-{}", page * 2000 + n), None, SectionSet::ALL))
                    .collect();
                copy.apply(&rows, (page + 1) * 2000, 0, SCOPES as usize);
            }
        });
        assert_eq!((copy.scopes.len(), copy.view(&key("user-1", None)).last_invalidation()), (SCOPES as usize, 1));
        assert!(filled.bytes_current < 120_000_000, "{} bytes", filled.bytes_current);
    }
}
