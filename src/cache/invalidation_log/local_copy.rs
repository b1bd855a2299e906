//! One instance's copy of the invalidation log: the last invalidation of every scope.
//!
//! Invariant: raising the low watermark is always safe, because it only outdates more snapshots. So the low watermark
//! stands in for every row that the copy does not hold.

use std::{collections::HashMap, sync::Arc};

use super::{recent::RecentEntries, row::LogRow, validity::LogValidity};
use crate::{
    cache::watched_files::{FileState, WatchedFiles, log_epoch, unknown_epoch},
    model::{CacheKey, Invalidation, Scope, Section, SectionSet, Snapshot, StrategyId, UserId, section},
    mutant::{self, Mutant},
};

/// The last invalidation of each section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Positions([i64; section::SECTIONS.len()]);

impl Positions {
    fn raise(&mut self, sections: SectionSet, position: i64) {
        for one in sections.with_dependents().iter() {
            let held = &mut self.0[section::index(one)];
            *held = (*held).max(position);
        }
    }

    fn merge(&mut self, other: &Self) {
        for (held, more) in self.0.iter_mut().zip(other.0) {
            *held = (*held).max(more);
        }
    }

    fn highest(&self) -> i64 {
        self.0.iter().copied().max().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct UserInvalidations {
    /// Of all the user's documents.
    user: Positions,
    /// Of the documents with this strategy.
    strategies: HashMap<StrategyId, Positions>,
    /// Of any strategy. They also invalidate the document without a strategy parameter, which contains one of the
    /// user's strategies.
    any_strategy: Positions,
}

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
    users: HashMap<UserId, UserInvalidations>,
    scopes: usize,
    /// The last entries that were applied.
    pub(super) recent: RecentEntries,
    /// Scopes invalidated since they were last taken. None: not recorded.
    recorded: Option<Vec<Scope>>,
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
            users: HashMap::new(),
            scopes: 0,
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

    pub(super) fn take_recorded_scopes(&mut self) -> Vec<Scope> {
        self.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Applies the rows above `applied`, up to `head`.
    pub(super) fn apply(&mut self, rows: &[LogRow], head: i64, low_watermark: i64, scopes_max: usize) {
        for row in rows {
            self.apply_row(row);
        }
        if let Some(last) = rows.last() {
            self.nonce = Some(last.nonce);
        }
        self.recent.add(rows, self.applied);
        self.applied = head;
        self.raise_low_watermark(low_watermark);
        if self.scopes > scopes_max {
            self.raise_low_watermark(self.oldest(self.scopes - scopes_max + scopes_max / 10));
        }
    }

    /// Goes on above `position`, which has this nonce; what the rows below it would outdate counts as outdated.
    pub(super) fn skip_to(&mut self, position: i64, nonce: Option<i64>) {
        self.raise_low_watermark(position);
        (self.applied, self.nonce) = (position, nonce);
        self.recent.forget();
    }

    /// The position of the last invalidation of the `count`-th scope, from the one that was invalidated longest ago.
    fn oldest(&self, count: usize) -> i64 {
        let strategies = |of: &UserInvalidations| of.strategies.values().map(Positions::highest).collect::<Vec<_>>();
        let last = |of: &UserInvalidations| strategies(of).into_iter().max().unwrap_or_default().max(of.user.highest());
        let mut positions: Vec<i64> =
            self.users.values().flat_map(|of| strategies(of).into_iter().chain([last(of)])).collect();
        let index = count.clamp(1, positions.len()) - 1;
        *positions.select_nth_unstable(index).1
    }

    /// From now on everything read below `position` counts as outdated. Invalidations up to it need not be held.
    pub(super) fn raise_low_watermark(&mut self, position: i64) {
        if position <= self.low_watermark {
            return;
        }
        if !mutant::on(Mutant::PrunesWithoutTheLowWatermark) {
            self.low_watermark = position;
        }
        self.users.retain(|_, invalidations| {
            invalidations.strategies.retain(|_, positions| positions.highest() > position);
            !invalidations.strategies.is_empty() || invalidations.user.highest() > position
        });
        self.scopes = self.users.values().map(|invalidations| invalidations.strategies.len() + 1).sum();
    }

    fn apply_row(&mut self, row: &LogRow) {
        match &row.invalidation {
            Invalidation::Of(scope) => self.apply_scope(scope, row.position),
            Invalidation::OfEveryone(sections) => self.everyone.raise(*sections, row.position),
        }
    }

    fn apply_scope(&mut self, scope: &Scope, position: i64) {
        if let Some(recorded) = self.recorded.as_mut().filter(|recorded| recorded.len() < RECORDED_MAX) {
            recorded.push(scope.clone());
        }
        let scopes = &mut self.scopes;
        let invalidations = self.users.entry(scope.user.clone()).or_insert_with(|| {
            *scopes += 1;
            UserInvalidations::default()
        });
        match scope.strategy {
            None => invalidations.user.raise(scope.sections, position),
            Some(strategy) => {
                let positions = invalidations.strategies.entry(strategy).or_insert_with(|| {
                    *scopes += 1;
                    Positions::default()
                });
                positions.raise(scope.sections, position);
                invalidations.any_strategy.raise(scope.sections, position);
            }
        }
    }

    /// Whether everything that the entry concerns has an invalidation at `position` or above.
    pub(super) fn invalidates(&self, entry: &Invalidation, position: i64) -> bool {
        let mut held = self.everyone;
        let sections = match entry {
            Invalidation::OfEveryone(sections) => sections,
            Invalidation::Of(scope) => {
                held.merge(&self.of_scope(scope));
                &scope.sections
            }
        };
        sections.iter().all(|section| held.0[section::index(section)].max(self.low_watermark) >= position)
    }

    fn of_scope(&self, scope: &Scope) -> Positions {
        let Some(invalidations) = self.users.get(&scope.user) else { return Positions::default() };
        match scope.strategy {
            None => invalidations.user,
            Some(strategy) => invalidations.strategies.get(&strategy).copied().unwrap_or_default(),
        }
    }

    pub(super) fn view(&self, key: &CacheKey) -> LogView {
        let mut positions = self.everyone;
        if let Some(invalidations) = self.users.get(&key.user) {
            positions.merge(&invalidations.user);
            match key.strategy {
                None => positions.merge(&invalidations.any_strategy),
                Some(strategy) => {
                    positions.merge(&invalidations.strategies.get(&strategy).copied().unwrap_or_default())
                }
            }
        }
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
        read_position >= self.positions.0[section::index(section)].max(self.low_watermark)
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
    use crate::model::{Parameters, UserDataQuery};

    fn key(user: &str, strategy: Option<i64>) -> CacheKey {
        let user = UserId::parse(user).unwrap();
        UserDataQuery::new(user, strategy.and_then(StrategyId::new), Parameters::none()).key().clone()
    }

    fn scope(user: &str, strategy: Option<i64>, sections: SectionSet) -> Invalidation {
        let (user, strategy) = (UserId::parse(user).unwrap(), strategy.and_then(StrategyId::new));
        Invalidation::Of(Scope { user, strategy, sections })
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
        assert_eq!((copy.users.len(), copy.scopes), (1, 2));
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
            (copy.users.len(), copy.view(&key("99", None)).last_invalidation()),
            (9, 2),
            "the oldest tenth goes"
        );
    }
}
