//! The data types that all layers share. CONTRIBUTING.md has the whole glossary; these are the words of this module:
//!
//! * *document*: the comprehensive data of one user, strategy and set of parameters. *query*: those three; *key*: the
//!   hash that names a query.
//! * *section*: the part of a document that comes from one source; it is invalidated, aged and reported by itself.
//! * *snapshot*: a sealed document with its times, read positions and section index; *seal*: encode once, never change.
//!   *served*: a snapshot returned to a caller, with its origin.
//! * *tier*: a place for snapshots: memory, Redis, database. *source*: where a section's data is read.
//! * *scope*: what an invalidation concerns: a user, or one strategy of a user, and a set of sections.
//! * *position*: the number of an entry in the invalidation log. *read position*: the position known before a section's
//!   sources were read. *epoch*: the identity of a log. *token*: epoch and position of an invalidation.

use std::fmt;

pub use crate::proto::v1::{Generator, Section, State};

pub mod canonical;
pub mod document;
pub mod file_fingerprint;
pub mod query;
pub mod section;
pub mod snapshot;
pub mod token;
pub mod user_hash;

pub use file_fingerprint::FileFingerprint;
pub use query::{CacheKey, DataHash, Parameters, QueryError, UserDataQuery};
pub use section::{SECTIONS, SectionSet};
pub use snapshot::{SealedSection, Snapshot};
pub use token::Token;
pub use user_hash::UserHash;

/// The opaque id of a user: 1 to 255 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(std::sync::Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most 255 bytes")]
    TooLong,
    #[error("must not contain control characters")]
    Control,
}

impl UserId {
    /// The width of the columns that store it.
    pub const BYTES_MAX: usize = 255;

    pub fn parse(text: &str) -> Result<Self, UserIdError> {
        if text.is_empty() {
            return Err(UserIdError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(UserIdError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(UserIdError::Control);
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in the integer columns of some source tables. Only the canonical decimal form of 0..=2147483647 has one, so
    /// that "01" and "+1" are not the user "1".
    #[must_use]
    pub fn integer(&self) -> Option<i32> {
        let text = self.as_str();
        let canonical =
            text == "0" || (text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0'));
        canonical.then(|| text.parse().ok()).flatten()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The id of a strategy in a request: at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StrategyId(i64);

impl StrategyId {
    /// None below 1.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        (number >= 1).then_some(Self(number))
    }

    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// What an invalidation concerns. Where the user's id must not be kept, as in the invalidation log, a hash stands for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope<User = UserId> {
    pub user: User,
    /// Documents of this strategy and those without one. None: all documents of the user.
    pub strategy: Option<StrategyId>,
    /// Sections that depend on these are added.
    pub sections: SectionSet,
}

impl Scope {
    #[must_use]
    pub fn hashed(&self) -> Scope<UserHash> {
        Scope { user: UserHash::of(&self.user), strategy: self.strategy, sections: self.sections }
    }
}

/// What an entry of the invalidation log outdates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Invalidation<User = UserHash> {
    Of(Scope<User>),
    /// These sections of every user's documents.
    OfEveryone(SectionSet),
}

impl Invalidation<UserId> {
    #[must_use]
    pub fn hashed(&self) -> Invalidation {
        match self {
            Self::Of(scope) => Invalidation::Of(scope.hashed()),
            Self::OfEveryone(sections) => Invalidation::OfEveryone(*sections),
        }
    }
}

/// The cache tiers, in the order of look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    Memory,
    Redis,
    Database,
}

impl Tier {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Database => "database",
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// From a tier.
    Hit(Tier),
    /// From a load that another request started.
    Shared,
    /// From the sources, in a load that this request started.
    Assembled,
    /// From the sources, because of force_refresh.
    Refreshed,
    /// An expired snapshot from this tier, because a source failed.
    Stale(Tier),
}

impl CacheStatus {
    /// Names in metrics and traces, in the order of [`CacheStatus::place`].
    pub const NAMES: [&'static str; 7] =
        ["HIT_MEMORY", "HIT_REDIS", "HIT_DATABASE", "SHARED", "ASSEMBLED", "REFRESHED", "STALE"];

    /// Index in arrays with a value for each status.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Self::Hit(tier) => tier as usize,
            Self::Shared => 3,
            Self::Assembled => 4,
            Self::Refreshed => 5,
            Self::Stale(_) => 6,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self.place()]
    }
}

/// A snapshot for a caller, and where it came from.
#[derive(Clone, Debug)]
pub struct Served {
    pub snapshot: Snapshot,
    pub status: CacheStatus,
    /// Whether the local copy of the log was current when the snapshot was checked, changes of the sources included if
    /// they make themselves known.
    pub verified: bool,
    /// Whether changes of the sources make themselves known.
    pub changes_known: bool,
    /// The position in the invalidation log up to which it is current.
    pub token: Token,
}
