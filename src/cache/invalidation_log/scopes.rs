//! The last invalidation of every scope, in 36 bytes each.
//!
//! A scope is known by a hash, and its positions are offsets of four bytes. Two scopes with one hash would share their
//! positions, so that more counts as outdated, which is always safe.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::positions::Positions;
use crate::model::{CacheKey, Scope, SectionSet, StrategyId, UserHash, section};

/// Seven offsets from the base; 0: no invalidation.
type Offsets = [u32; section::SECTIONS.len()];

/// Below this many entries a walk through all of them is not worth its while.
const SWEPT_MIN: usize = 1000;
/// Makes the strategies of a user differ in all bits. An odd number: no two strategies meet.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a scope's hash stands for, beside its user.
#[derive(Clone, Copy)]
enum ScopePart {
    /// All the user's documents.
    User,
    /// The documents with this strategy.
    Strategy(StrategyId),
    /// Any strategy. Its invalidation also concerns the document without a strategy parameter, which contains one of the
    /// user's strategies.
    AnyStrategy,
}

#[derive(Debug)]
pub(super) struct Scopes {
    entries: HashMap<u64, Offsets, BuildHasherDefault<AsItIs>>,
    base: i64,
    /// Entries are swept when there are as many.
    swept_at: usize,
}

impl Scopes {
    /// No invalidation above `base`.
    pub(super) fn above(base: i64) -> Self {
        Self { entries: HashMap::default(), base, swept_at: SWEPT_MIN }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Outdates the scope's sections. `position` is within [`Self::reach`].
    pub(super) fn raise(&mut self, scope: &Scope<UserHash>, position: i64) {
        let Scope { user, strategy, sections } = *scope;
        match strategy {
            None => self.raise_part(user, ScopePart::User, sections, position),
            Some(strategy) => {
                self.raise_part(user, ScopePart::Strategy(strategy), sections, position);
                self.raise_part(user, ScopePart::AnyStrategy, sections, position);
            }
        }
    }

    fn raise_part(&mut self, user: UserHash, part: ScopePart, sections: SectionSet, position: i64) {
        let offset = u32::try_from(position - self.base).unwrap_or_default();
        let held = self.entries.entry(part.hash(user)).or_default();
        for one in sections.with_dependents().iter() {
            let held = &mut held[section::index(one)];
            *held = (*held).max(offset);
        }
    }

    /// The invalidations of this very scope.
    pub(super) fn of(&self, scope: &Scope<UserHash>) -> Positions {
        self.part(scope.user, scope.strategy.map_or(ScopePart::User, ScopePart::Strategy))
    }

    /// The invalidations that concern a key.
    pub(super) fn concerning(&self, key: &CacheKey) -> Positions {
        let user = UserHash::of(&key.user);
        let mut positions = self.part(user, ScopePart::User);
        positions.merge(&self.part(user, key.strategy.map_or(ScopePart::AnyStrategy, ScopePart::Strategy)));
        positions
    }

    fn part(&self, user: UserHash, part: ScopePart) -> Positions {
        let Some(offsets) = self.entries.get(&part.hash(user)) else { return Positions::default() };
        Positions(offsets.map(|offset| if offset == 0 { 0 } else { self.base + i64::from(offset) }))
    }

    /// The highest position that can be held.
    pub(super) fn reach(&self) -> i64 {
        self.base + i64::from(u32::MAX)
    }

    /// Drops what is at or below `position`, and counts from there.
    pub(super) fn start_at(&mut self, position: i64) {
        let less = u32::try_from(position - self.base).unwrap_or(u32::MAX);
        self.base = position;
        for held in self.entries.values_mut().flatten() {
            *held = held.saturating_sub(less);
        }
        self.sweep(position);
    }

    /// Drops entries at or below `position`, once they may be half of all.
    pub(super) fn sweep_if_due(&mut self, position: i64) {
        if self.entries.len() >= self.swept_at {
            self.sweep(position);
        }
    }

    /// Drops entries at or below `position`.
    pub(super) fn sweep(&mut self, position: i64) {
        let offset = u32::try_from(position - self.base).unwrap_or_default();
        self.entries.retain(|_, held| held.iter().any(|held| *held > offset));
        self.swept_at = SWEPT_MIN.max(2 * self.entries.len());
        self.entries.shrink_to(self.swept_at);
    }

    /// The position of the last invalidation of the `count`-th entry, from the one that was invalidated longest ago.
    pub(super) fn oldest(&self, count: usize) -> i64 {
        let mut last: Vec<u32> =
            self.entries.values().map(|held| held.iter().copied().max().unwrap_or_default()).collect();
        let index = count.clamp(1, last.len()) - 1;
        self.base + i64::from(*last.select_nth_unstable(index).1)
    }
}

impl ScopePart {
    fn hash(self, user: UserHash) -> u64 {
        let number = match self {
            Self::User => 0,
            Self::Strategy(strategy) => strategy.get().cast_unsigned(),
            Self::AnyStrategy => u64::MAX,
        };
        user.bits().wrapping_add(number.wrapping_mul(SPREAD))
    }
}

/// A number that is a hash already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
