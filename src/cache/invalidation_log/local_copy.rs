//! What one instance knows of the invalidation log: the position below which each scope's data is outdated.
//!
//! Invariant: raising the floor is always safe, it only makes more snapshots invalid. So whatever
//! cannot be kept exactly is covered by the floor.

use std::{collections::HashMap, sync::Arc};

use crate::{
    model::{CacheKey, Scope, Section, SectionSet, Snapshot, StrategyId, UserId, section},
    mutant::{self, Mutant},
};

/// One position per section.
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

/// A user's fences.
#[derive(Debug, Default)]
struct UserInvalidations {
    /// On everything of the user.
    user: Positions,
    /// On one strategy each.
    strategies: HashMap<StrategyId, Positions>,
    /// On any strategy: they also fence the entry without one, which resolves to one of them.
    any_strategy: Positions,
}

/// A row of the log.
#[derive(Clone, Debug)]
pub(super) struct LogRow {
    pub(super) position: i64,
    pub(super) user: UserId,
    pub(super) strategy: Option<StrategyId>,
    pub(super) sections: SectionSet,
    pub(super) nonce: i64,
}

/// The local copy of the log.
#[derive(Debug)]
pub(super) struct LocalCopy {
    pub(super) epoch: Arc<str>,
    /// Every row up to here has been applied.
    pub(super) applied: i64,
    /// The nonce of the row at `applied`; none if it is at or below the floor.
    pub(super) nonce: Option<i64>,
    low_watermark: i64,
    users: HashMap<UserId, UserInvalidations>,
    scopes: usize,
    /// What has been fenced lately, if somebody listens.
    news: Option<Vec<Scope>>,
}

/// Scopes kept for whoever listens; what is beyond it he does not hear of. More than any instance can follow between
/// two looks.
const NEWS_MAX: usize = 4096;

impl LocalCopy {
    /// Knows nothing: belongs to no epoch, so nothing stored is readable.
    pub(super) fn empty() -> Self {
        Self::adopted("".into(), 0)
    }

    /// Begins anew with a log whose positions up to `floor` count as fenced.
    pub(super) fn adopted(epoch: Arc<str>, low_watermark: i64) -> Self {
        Self { epoch, applied: low_watermark, nonce: None, low_watermark, users: HashMap::new(), scopes: 0, news: None }
    }

    /// The same in place; whoever listens goes on.
    pub(super) fn adopt(&mut self, epoch: Arc<str>, low_watermark: i64) {
        let news = self.news.take();
        *self = Self { news, ..Self::adopted(epoch, low_watermark) };
    }

    /// Keeps what is fenced from now on.
    pub(super) fn record_scopes(&mut self) {
        self.news.get_or_insert_default();
    }

    /// What has been fenced since the last call, or since somebody began to listen.
    pub(super) fn take_recorded_scopes(&mut self) -> Vec<Scope> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Applies rows that follow `applied` without a gap, up to `head`.
    pub(super) fn apply(&mut self, rows: &[LogRow], head: i64, low_watermark: i64, scopes_max: usize) {
        for row in rows {
            self.apply_row(row);
        }
        if let Some(last) = rows.last() {
            self.nonce = Some(last.nonce);
        }
        self.applied = head;
        self.raise_low_watermark(low_watermark);
        if self.scopes > scopes_max {
            self.raise_low_watermark(head);
        }
    }

    /// Everything below `position` counts as fenced; what that covers need not be held any longer.
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
        if let Some(news) = self.news.as_mut().filter(|news| news.len() < NEWS_MAX) {
            news.push(Scope { user: row.user.clone(), strategy: row.strategy, sections: row.sections });
        }
        let scopes = &mut self.scopes;
        let invalidations = self.users.entry(row.user.clone()).or_insert_with(|| {
            *scopes += 1;
            UserInvalidations::default()
        });
        match row.strategy {
            None => invalidations.user.raise(row.sections, row.position),
            Some(strategy) => {
                let positions = invalidations.strategies.entry(strategy).or_insert_with(|| {
                    *scopes += 1;
                    Positions::default()
                });
                positions.raise(row.sections, row.position);
                invalidations.any_strategy.raise(row.sections, row.position);
            }
        }
    }

    /// Whether all of a scope is fenced at `position` at least.
    pub(super) fn invalidates(&self, scope: &Scope, position: i64) -> bool {
        let held = self.users.get(&scope.user).map_or(Positions::default(), |invalidations| match scope.strategy {
            None => invalidations.user,
            Some(strategy) => invalidations.strategies.get(&strategy).copied().unwrap_or_default(),
        });
        scope.sections.iter().all(|section| held.0[section::index(section)].max(self.low_watermark) >= position)
    }

    /// What concerns one key.
    pub(super) fn view(&self, key: &CacheKey) -> LogView {
        let mut positions = Positions::default();
        if let Some(invalidations) = self.users.get(&key.user) {
            positions = invalidations.user;
            match key.strategy {
                None => positions.merge(&invalidations.any_strategy),
                Some(strategy) => {
                    positions.merge(&invalidations.strategies.get(&strategy).copied().unwrap_or_default())
                }
            }
        }
        LogView { epoch: Arc::clone(&self.epoch), applied: self.applied, low_watermark: self.low_watermark, positions }
    }
}

/// What an instance knows about one key's fences at one moment.
#[derive(Clone, Debug)]
pub struct LogView {
    /// The log's epoch.
    pub epoch: Arc<str>,
    /// The position up to which the log was applied.
    pub applied: i64,
    low_watermark: i64,
    positions: Positions,
}

impl LogView {
    /// The position that a load has to have begun at, to be joined.
    #[must_use]
    pub fn last_invalidation(&self) -> i64 {
        self.positions.highest().max(self.low_watermark)
    }

    /// Whether a stored snapshot can be judged at all: it is of this log, and of a part of it that
    /// this instance has applied.
    #[must_use]
    pub fn can_judge(&self, snapshot: &Snapshot) -> bool {
        (snapshot.epoch == self.epoch || mutant::on(Mutant::IgnoresTheEpoch))
            && snapshot.read_position_max() <= self.applied
    }

    /// Whether no invalidation has outdated what was read at `tag`.
    #[must_use]
    pub fn is_valid(&self, section: Section, read_position: i64) -> bool {
        read_position >= self.positions.0[section::index(section)].max(self.low_watermark)
    }

    /// Whether every asked section of a snapshot can be served.
    #[must_use]
    pub fn admits(&self, snapshot: &Snapshot, asked: SectionSet) -> bool {
        self.can_judge(snapshot)
            && snapshot
                .sections
                .iter()
                .filter(|section| asked.contains(section.facts.section))
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

    fn row(position: i64, user: &str, strategy: Option<i64>, sections: SectionSet) -> LogRow {
        let strategy = strategy.and_then(StrategyId::new);
        LogRow { position, user: UserId::parse(user).unwrap(), strategy, sections, nonce: position * 7 }
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
        let scope = |user: &str, strategy: Option<i64>| Scope {
            user: UserId::parse(user).unwrap(),
            strategy: strategy.and_then(StrategyId::new),
            sections: SectionSet::ALL,
        };
        for (user, strategy, position, invalidated) in [
            ("1", None, 1, true),
            ("1", None, 2, false),
            ("2", Some(7), 2, true),
            ("2", Some(8), 2, false),
            ("2", None, 2, false),
        ] {
            assert_eq!(
                copy.invalidates(&scope(user, strategy), position),
                invalidated,
                "{user} {strategy:?} {position}"
            );
        }
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
    fn too_many_scopes_raise_the_low_watermark_instead_of_growing() {
        let mut copy = LocalCopy::adopted("i".into(), 0);
        let rows: Vec<LogRow> = (1..=11).map(|n| row(n, &n.to_string(), None, SectionSet::ALL)).collect();
        copy.apply(&rows, 11, 0, 10);
        assert_eq!((copy.users.len(), copy.view(&key("99", None)).last_invalidation()), (0, 11));
    }
}
