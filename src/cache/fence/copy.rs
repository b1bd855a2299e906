//! What one instance knows of the fence log: the position below which each scope's data is outdated.
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
struct UserFences {
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
    pub(super) seq: i64,
    pub(super) user: UserId,
    pub(super) strategy: Option<StrategyId>,
    pub(super) sections: SectionSet,
    pub(super) nonce: i64,
}

/// The local copy of the log.
#[derive(Debug)]
pub(super) struct LogCopy {
    pub(super) incarnation: Arc<str>,
    /// Every row up to here has been applied.
    pub(super) applied: i64,
    /// The nonce of the row at `applied`; none if it is at or below the floor.
    pub(super) nonce: Option<i64>,
    floor: i64,
    users: HashMap<UserId, UserFences>,
    scopes: usize,
    /// What has been fenced lately, if somebody listens.
    news: Option<Vec<Scope>>,
}

/// Scopes kept for whoever listens; what is beyond it he does not hear of. More than any instance can follow between
/// two looks.
const NEWS_MAX: usize = 4096;

impl LogCopy {
    /// Knows nothing: belongs to no incarnation, so nothing stored is readable.
    pub(super) fn empty() -> Self {
        Self::adopted("".into(), 0)
    }

    /// Begins anew with a log whose positions up to `floor` count as fenced.
    pub(super) fn adopted(incarnation: Arc<str>, floor: i64) -> Self {
        Self { incarnation, applied: floor, nonce: None, floor, users: HashMap::new(), scopes: 0, news: None }
    }

    /// The same in place; whoever listens goes on.
    pub(super) fn adopt(&mut self, incarnation: Arc<str>, floor: i64) {
        let news = self.news.take();
        *self = Self { news, ..Self::adopted(incarnation, floor) };
    }

    /// Keeps what is fenced from now on.
    pub(super) fn listen(&mut self) {
        self.news.get_or_insert_default();
    }

    /// What has been fenced since the last call, or since somebody began to listen.
    pub(super) fn take_news(&mut self) -> Vec<Scope> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Applies rows that follow `applied` without a gap, up to `head`.
    pub(super) fn apply(&mut self, rows: &[LogRow], head: i64, floor: i64, scopes_max: usize) {
        for row in rows {
            self.fence(row);
        }
        if let Some(last) = rows.last() {
            self.nonce = Some(last.nonce);
        }
        self.applied = head;
        self.raise_floor(floor);
        if self.scopes > scopes_max {
            self.raise_floor(head);
        }
    }

    /// Everything below `position` counts as fenced; what that covers need not be held any longer.
    pub(super) fn raise_floor(&mut self, position: i64) {
        if position <= self.floor {
            return;
        }
        if !mutant::on(Mutant::PrunesWithoutTheFloor) {
            self.floor = position;
        }
        self.users.retain(|_, fences| {
            fences.strategies.retain(|_, positions| positions.highest() > position);
            !fences.strategies.is_empty() || fences.user.highest() > position
        });
        self.scopes = self.users.values().map(|fences| fences.strategies.len() + 1).sum();
    }

    fn fence(&mut self, row: &LogRow) {
        if let Some(news) = self.news.as_mut().filter(|news| news.len() < NEWS_MAX) {
            news.push(Scope { user: row.user.clone(), strategy: row.strategy, sections: row.sections });
        }
        let scopes = &mut self.scopes;
        let fences = self.users.entry(row.user.clone()).or_insert_with(|| {
            *scopes += 1;
            UserFences::default()
        });
        match row.strategy {
            None => fences.user.raise(row.sections, row.seq),
            Some(strategy) => {
                let positions = fences.strategies.entry(strategy).or_insert_with(|| {
                    *scopes += 1;
                    Positions::default()
                });
                positions.raise(row.sections, row.seq);
                fences.any_strategy.raise(row.sections, row.seq);
            }
        }
    }

    /// Whether all of a scope is fenced at `position` at least.
    pub(super) fn fences(&self, scope: &Scope, position: i64) -> bool {
        let held = self.users.get(&scope.user).map_or(Positions::default(), |fences| match scope.strategy {
            None => fences.user,
            Some(strategy) => fences.strategies.get(&strategy).copied().unwrap_or_default(),
        });
        scope.sections.iter().all(|section| held.0[section::index(section)].max(self.floor) >= position)
    }

    /// What concerns one key.
    pub(super) fn view(&self, key: &CacheKey) -> View {
        let mut positions = Positions::default();
        if let Some(fences) = self.users.get(&key.user) {
            positions = fences.user;
            match key.strategy {
                None => positions.merge(&fences.any_strategy),
                Some(strategy) => positions.merge(&fences.strategies.get(&strategy).copied().unwrap_or_default()),
            }
        }
        View { incarnation: Arc::clone(&self.incarnation), applied: self.applied, floor: self.floor, positions }
    }
}

/// What an instance knows about one key's fences at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The log's incarnation.
    pub incarnation: Arc<str>,
    /// The position up to which the log was applied.
    pub applied: i64,
    floor: i64,
    positions: Positions,
}

impl View {
    /// The position that a load has to have begun at, to be joined.
    #[must_use]
    pub fn fence(&self) -> i64 {
        self.positions.highest().max(self.floor)
    }

    /// Whether a stored snapshot can be judged at all: it is of this log, and of a part of it that
    /// this instance has applied.
    #[must_use]
    pub fn can_judge(&self, snapshot: &Snapshot) -> bool {
        (snapshot.incarnation == self.incarnation || mutant::on(Mutant::IgnoresTheIncarnation))
            && snapshot.tag_max() <= self.applied
    }

    /// Whether no invalidation has outdated what was read at `tag`.
    #[must_use]
    pub fn is_valid(&self, section: Section, tag: i64) -> bool {
        tag >= self.positions.0[section::index(section)].max(self.floor)
    }

    /// Whether every asked section of a snapshot can be served.
    #[must_use]
    pub fn admits(&self, snapshot: &Snapshot, asked: SectionSet) -> bool {
        self.can_judge(snapshot)
            && snapshot
                .sections
                .iter()
                .filter(|section| asked.contains(section.facts.section))
                .all(|section| self.is_valid(section.facts.section, section.tag))
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

    fn row(seq: i64, user: &str, strategy: Option<i64>, sections: SectionSet) -> LogRow {
        let strategy = strategy.and_then(StrategyId::new);
        LogRow { seq, user: UserId::parse(user).unwrap(), strategy, sections, nonce: seq * 7 }
    }

    fn copy(rows: &[LogRow]) -> LogCopy {
        let mut copy = LogCopy::adopted("i".into(), 0);
        copy.apply(rows, rows.len().try_into().unwrap(), 0, 1000);
        copy
    }

    #[test]
    fn a_fence_concerns_its_scope_and_nothing_else() {
        let copy = copy(&[row(1, "1", None, SectionSet::ALL), row(2, "2", Some(7), SectionSet::ALL)]);
        for (user, strategy, fence) in
            [("1", None, 1), ("1", Some(7), 1), ("2", None, 2), ("2", Some(7), 2), ("2", Some(8), 0), ("3", None, 0)]
        {
            assert_eq!(copy.view(&key(user, strategy)).fence(), fence, "{user} {strategy:?}");
        }
        let scope = |user: &str, strategy: Option<i64>| Scope {
            user: UserId::parse(user).unwrap(),
            strategy: strategy.and_then(StrategyId::new),
            sections: SectionSet::ALL,
        };
        for (user, strategy, position, fenced) in [
            ("1", None, 1, true),
            ("1", None, 2, false),
            ("2", Some(7), 2, true),
            ("2", Some(8), 2, false),
            ("2", None, 2, false),
        ] {
            assert_eq!(copy.fences(&scope(user, strategy), position), fenced, "{user} {strategy:?} {position}");
        }
    }

    #[test]
    fn a_fence_on_a_section_also_fences_what_is_made_from_it() {
        let view = copy(&[row(1, "1", None, SectionSet::NONE.with(Section::Strategy))]).view(&key("1", None));
        for section in section::SECTIONS {
            let outdated =
                matches!(section, Section::Strategy | Section::AiAnalysis | Section::GapAnalysis | Section::Derived);
            assert_eq!(view.is_valid(section, 0), !outdated, "{section:?}");
            assert!(view.is_valid(section, 1));
        }
        assert_eq!(view.fence(), 1);
    }

    #[test]
    fn the_floor_covers_what_is_no_longer_held() {
        let mut copy = copy(&[row(1, "1", None, SectionSet::ALL), row(2, "2", Some(7), SectionSet::ALL)]);
        copy.raise_floor(1);
        assert_eq!((copy.users.len(), copy.scopes), (1, 2));
        assert_eq!(copy.view(&key("1", None)).fence(), 1);
        assert_eq!(copy.view(&key("3", None)).fence(), 1);
        assert_eq!(copy.view(&key("2", Some(7))).fence(), 2);
    }

    #[test]
    fn too_many_scopes_raise_the_floor_instead_of_growing() {
        let mut copy = LogCopy::adopted("i".into(), 0);
        let rows: Vec<LogRow> = (1..=11).map(|n| row(n, &n.to_string(), None, SectionSet::ALL)).collect();
        copy.apply(&rows, 11, 0, 10);
        assert_eq!((copy.users.len(), copy.view(&key("99", None)).fence()), (0, 11));
    }
}
