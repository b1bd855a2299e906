//! Every way in which a request can fail. `grpc/status.rs` maps them to codes; nothing here knows codes.

use std::{sync::Arc, time::Duration};

use crate::aggregate::AggregateError;

/// An error and its causes in one line. A cause that the error already displays is left out.
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
    NotFound { what: Missing },
    #[error("overloaded")]
    Overloaded { retry_after: Duration },
    /// A required source, or the cache's own database where it is needed, cannot be reached.
    #[error("{reason}")]
    Unavailable {
        reason: Unavailable,
        retry_after: Duration,
        /// For the log.
        #[source]
        cause: Option<Arc<AggregateError>>,
    },
    /// The deadline of the request has passed. Its load continues.
    #[error("deadline exceeded")]
    DeadlineExceeded,
    /// The document is larger than a reply may be.
    #[error("the document has {bytes} bytes")]
    TooLarge {
        bytes: usize,
        /// The encoded size of each section, in the contract's order.
        sections: Vec<(crate::model::Section, usize)>,
    },
    /// A prefetch exceeded the AI budget. Never returned to a caller: a waiting one starts its own load.
    #[error("AI budget exceeded")]
    BudgetExceeded,
    /// A defect. The log has the details.
    #[error("internal error")]
    Internal,
}

/// Spread, so that refused clients do not retry at the same time.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 500..=1500;

/// When a client refused for overload should retry.
#[must_use]
pub fn retry_after_overload() -> Duration {
    Duration::from_millis(rand::random_range(RETRY_AFTER_MS))
}

impl Error {
    #[must_use]
    pub fn overloaded() -> Self {
        Self::Overloaded { retry_after: retry_after_overload() }
    }
}

/// What was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    User,
    /// The strategy does not exist, or belongs to another user. The caller does not learn which.
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

/// Why something is unavailable. The name is the reason that the caller gets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("a required source failed")]
    SourceFailed { source_name: &'static str },
    /// An invalidation could not be made durable. Local copies were dropped nevertheless.
    #[error("the invalidation could not be made durable")]
    InvalidationNotDurable,
    /// A purge could not clean a tier, or delete the user's key (`keys`). Its invalidation holds.
    #[error("a tier could not be purged")]
    PurgeIncomplete { tier: &'static str },
    /// The invalidation log could not be read, and the caller wants nothing unverified.
    #[error("freshness cannot be verified")]
    FreshnessUnverified,
    /// The sources' outbox could not be read in time, and the caller wants every committed change.
    #[error("the change feed cannot be read")]
    ChangeFeedUnreadable,
    /// A token is ahead of the log that this instance can read.
    #[error("the token is ahead of the log")]
    TokenAhead,
    /// The call needs the cache's database, which cannot be reached.
    #[error("the cache database cannot be reached")]
    DatabaseDown,
    #[error("shutting down")]
    Draining,
}
