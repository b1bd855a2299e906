//! The closed list of ways a request can fail. `grpc/status.rs` maps it to codes, here nothing knows them.

use std::{sync::Arc, time::Duration};

use crate::aggregate::AggregateError;

/// An error and what caused it, in one line. Libraries' errors often say their cause themselves.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Why a request failed. `Clone`, because one load answers many requests.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The user is unknown to the required source, or the strategy is not this user's.
    #[error("{what} not found")]
    NotFound {
        /// What was looked for.
        what: Missing,
    },
    /// Too much is going on already.
    #[error("overloaded")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// A required source, or the cache's own database where it is needed, cannot be reached.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: Unavailable,
        /// When to try again.
        retry_after: Duration,
        /// What failed, for the log.
        #[source]
        cause: Option<Arc<AggregateError>>,
    },
    /// The caller's deadline passed; the load goes on.
    #[error("deadline exceeded")]
    DeadlineExceeded,
    /// The document is larger than a reply may be.
    #[error("the document has {bytes} bytes")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The sections and their encoded sizes, in the contract's order.
        sections: Vec<(crate::model::Section, usize)>,
    },
    /// It was assembled for nobody, and would have taken an AI call. Whoever waits assembles for itself: no caller
    /// is ever told this.
    #[error("left to whoever waits for it")]
    BudgetExceeded,
    /// A defect of ours; the log says more.
    #[error("internal error")]
    Internal,
}

/// When whoever is refused for overload should come back: spread, so that they do not come back together.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 500..=1500;

/// One such time.
#[must_use]
pub fn retry_after_overload() -> Duration {
    Duration::from_millis(rand::random_range(RETRY_AFTER_MS))
}

impl Error {
    /// Too much is going on already.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::Overloaded { retry_after: retry_after_overload() }
    }
}

/// What NOT_FOUND is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The user.
    User,
    /// The strategy, which does not exist or is somebody else's: nobody is told which.
    Strategy,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::User => "user",
            Self::Strategy => "strategy",
        })
    }
}

/// Why something is unavailable; its name is the outward reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// A required source failed.
    #[error("a required source failed")]
    SourceFailed {
        /// Its name.
        source_name: &'static str,
    },
    /// An invalidation could not be made durable. What is cached here was dropped all the same.
    #[error("the invalidation could not be made durable")]
    InvalidationNotDurable,
    /// A purge could not clean a tier. Its invalidation holds.
    #[error("a tier could not be purged")]
    PurgeIncomplete {
        /// The tier.
        tier: crate::model::Tier,
    },
    /// The invalidation log could not be read, and the caller wants nothing unverified.
    #[error("freshness cannot be verified")]
    FreshnessUnverified,
    /// A token is ahead of the log that this instance can read.
    #[error("the token is ahead of the log")]
    TokenAhead,
    /// The cache's database is needed for this call and cannot be reached.
    #[error("the cache database cannot be reached")]
    DatabaseDown,
    /// The service is shutting down.
    #[error("shutting down")]
    Draining,
}
