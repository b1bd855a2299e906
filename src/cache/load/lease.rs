//! One load per key in the whole cluster: the work that a load's lease names, and how a load without a document tells
//! the instances that waited for it.
//!
//! A load that waits for another instance holds neither a permit nor a connection. Its callers get the status SHARED,
//! whichever tier the document comes from. A failure is shared as a failure of the sources, not as an answer: each
//! instance may still have a fallback.

use std::{sync::Arc, time::Duration};

use sea_orm::sea_query::Expr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::backoff::{self, RecentFailure};
use crate::{
    aggregate::AggregateError,
    cache::invalidation_log::LogView,
    error::{Error, Missing, Unavailable},
    lease::{Lease, SharedWork},
    model::{CacheKey, StrategyId},
};

/// A missing or too large document stays so for longer than any lease's outcome is shared.
const FINAL: Duration = Duration::MAX;

/// The work of loading `key`. It names the user by a digest: the row of a crashed instance may outlive a purge.
pub(super) fn work(key: &CacheKey, view: &LogView, done: Expr) -> SharedWork {
    let strategy = key.strategy.map_or(0, StrategyId::get);
    let user = hex::encode(Sha256::digest(key.user.as_str()));
    let key = format!("{user}/{strategy}/{}", key.hash);
    SharedWork { key, read_position: view.applied, last_invalidation: view.last_invalidation(), done }
}

/// How a load ended that leaves no document in the tiers.
#[derive(Clone, Debug)]
pub(super) enum NoDocument {
    Failed(LoadFailure),
    /// Too large for the tiers: every instance loads it itself, at once rather than in turn.
    TooLarge,
}

/// Why a load returned no document.
#[derive(Clone, Debug)]
pub(super) enum LoadFailure {
    NotFound(Missing),
    /// A required source failed, here or where the load ran.
    SourceFailed {
        source_name: &'static str,
        retry_after: Duration,
        /// None for a load on another instance, which logged it.
        cause: Option<Arc<AggregateError>>,
    },
    /// A prefetch would have needed an AI call beyond the budget.
    BudgetExceeded,
}

impl From<RecentFailure> for LoadFailure {
    fn from(recent: RecentFailure) -> Self {
        Self::SourceFailed { source_name: recent.source_name, retry_after: recent.left, cause: None }
    }
}

impl From<LoadFailure> for Error {
    fn from(failure: LoadFailure) -> Self {
        match failure {
            LoadFailure::NotFound(what) => Self::NotFound { what },
            LoadFailure::BudgetExceeded => Self::BudgetExceeded,
            LoadFailure::SourceFailed { source_name, retry_after, cause } => {
                Self::Unavailable { reason: Unavailable::SourceFailed { source_name }, retry_after, cause }
            }
        }
    }
}

impl NoDocument {
    /// Releases the lease, and tells the instances that wait for it.
    pub(super) fn share(&self, lease: Option<Lease>, view: &LogView) {
        let Some(lease) = lease else { return };
        let (kind, ttl) = match self {
            Self::Failed(LoadFailure::NotFound(Missing::User)) => (OutcomeKind::UserNotFound, FINAL),
            Self::Failed(LoadFailure::NotFound(Missing::Strategy)) => (OutcomeKind::StrategyNotFound, FINAL),
            Self::Failed(LoadFailure::SourceFailed { source_name, retry_after, .. }) => {
                (OutcomeKind::SourceFailed { source: (*source_name).to_owned() }, *retry_after)
            }
            // The budget does not bind loads with a waiting caller; they start as soon as the lease is free.
            Self::Failed(LoadFailure::BudgetExceeded) => return,
            Self::TooLarge => (OutcomeKind::TooLarge, FINAL),
        };
        let stored = SharedOutcome { epoch: view.epoch.to_string(), read_position: view.applied, kind };
        lease.end(serde_json::to_value(stored).expect("texts and numbers have a JSON form"), ttl);
    }

    /// The outcome in a lease's row with its read position, if it is valid in `view`.
    pub(super) fn read(outcome: serde_json::Value, view: &LogView) -> Option<(Self, i64)> {
        let SharedOutcome { epoch, read_position, kind } = serde_json::from_value(outcome).ok()?;
        if *epoch != *view.epoch || read_position < view.last_invalidation() {
            return None;
        }
        let failure = match kind {
            OutcomeKind::TooLarge => return Some((Self::TooLarge, read_position)),
            OutcomeKind::UserNotFound => LoadFailure::NotFound(Missing::User),
            OutcomeKind::StrategyNotFound => LoadFailure::NotFound(Missing::Strategy),
            OutcomeKind::SourceFailed { source } => {
                let source_name = REQUIRED.into_iter().find(|name| *name == source)?;
                LoadFailure::SourceFailed { source_name, retry_after: backoff::pause(), cause: None }
            }
        };
        Some((Self::Failed(failure), read_position))
    }
}

/// The sources whose failure fails a load.
const REQUIRED: [&str; 2] = ["onboarding", "strategy"];

/// An outcome in the lease's row.
#[derive(Serialize, Deserialize)]
struct SharedOutcome {
    epoch: String,
    read_position: i64,
    #[serde(flatten)]
    kind: OutcomeKind,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
enum OutcomeKind {
    UserNotFound,
    StrategyNotFound,
    TooLarge,
    SourceFailed { source: String },
}
