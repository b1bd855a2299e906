//! What a caller may ask of a read and of an invalidation.

use std::time::Duration;

use crate::{
    clock::Clock,
    model::{SectionSet, Snapshot, Token},
};

/// What a caller wants of a read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOptions {
    /// The sections of the reply; only these have to be valid.
    pub sections: SectionSet,
    pub freshness: Freshness,
    /// The answer reflects at least this invalidation.
    pub min_token: Option<Token>,
    /// An older cached snapshot counts as a miss.
    pub max_age: Option<Duration>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { sections: SectionSet::ALL, freshness: Freshness::Default, min_token: None, max_age: None }
    }
}

impl ReadOptions {
    pub(super) fn is_too_old(&self, snapshot: &Snapshot, clock: &Clock) -> bool {
        // Reads the wall clock only if `max_age` is set.
        let is_older = |max_age| (clock.utc() - snapshot.as_of).to_std().unwrap_or_default() > max_age;
        self.max_age.is_some_and(is_older)
    }
}

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Verified within the log's lease, or marked as unverified.
    #[default]
    Default,
    /// Never unverified, never stale.
    Strict,
    /// Like `Strict`, after reading the invalidation log.
    Linearizable,
}

/// How to carry out an invalidation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvalidateOptions {
    /// Return only when every instance applies it.
    pub wait_all: bool,
    /// Delete rows, Redis copies and AI responses before returning.
    pub purge: bool,
}

/// An acknowledged invalidation.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalidated {
    /// Deleted rows; best effort.
    pub removed: u64,
    /// The position of the invalidation in the log.
    pub token: Token,
}
