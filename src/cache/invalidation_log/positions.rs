//! The last invalidation of each section.

use crate::model::{Section, SectionSet, section};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Positions(pub(super) [i64; section::SECTIONS.len()]);

impl Positions {
    /// Outdates sections, and what is made from them.
    pub(super) fn raise(&mut self, sections: SectionSet, position: i64) {
        for one in sections.with_dependents().iter() {
            let held = &mut self.0[section::index(one)];
            *held = (*held).max(position);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (held, more) in self.0.iter_mut().zip(other.0) {
            *held = (*held).max(more);
        }
    }

    pub(super) fn of(&self, section: Section) -> i64 {
        self.0[section::index(section)]
    }

    pub(super) fn highest(&self) -> i64 {
        self.0.iter().copied().max().unwrap_or_default()
    }
}
