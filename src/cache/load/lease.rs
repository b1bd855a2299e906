//! One load per key in the whole cluster: what a load's lease is about, and how a load without a
//! document is told to those who waited for it.
//!
//! Whoever waits for another instance's load holds neither permit nor connection, and is answered
//! SHARED, from whichever tier the document then came: it did wait for a load that somebody else had
//! begun. A failure is shared as a failure of the sources, not as an answer: each instance may still
//! have a last good document of its own.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::backoff::{self, RecentFailure};
use crate::{
    aggregate::AggregateError,
    cache::invalidation_log::LogView,
    error::{Error, Missing, Unavailable},
    lease::{DoneCheck, Lease, SharedWork},
    model::{CacheKey, StrategyId},
};

/// What is not there, or too large, stays so for longer than any lease's outcome is shared.
const FINAL: Duration = Duration::MAX;

/// The work of loading `key`. The user stands there as a digest: the row of an instance that died would
/// else name a user who was erased meanwhile.
pub(super) fn work(key: &CacheKey, view: &LogView, done: DoneCheck) -> SharedWork {
    let strategy = key.strategy.map_or(0, StrategyId::get);
    let user: String = Sha256::digest(key.user.as_str()).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("{user}/{strategy}/{}", key.hash);
    SharedWork { key, read_position: view.applied, last_invalidation: view.last_invalidation(), done }
}

/// How a load ended that leaves no document in the tiers.
#[derive(Clone, Debug)]
pub(super) enum NoDocument {
    /// There is none.
    Failed(LoadFailure),
    /// It is too large for them: everybody has to load it for itself, all at once rather than in turn.
    TooLarge,
}

/// Why a load brought no document.
#[derive(Clone, Debug)]
pub(super) enum LoadFailure {
    /// There is nothing.
    NotFound(Missing),
    /// A required source failed; here, or where the load ran.
    SourceFailed {
        /// Which one.
        source_name: &'static str,
        /// When it is worth another try.
        retry_after: Duration,
        /// None: elsewhere, where it was logged.
        cause: Option<Arc<AggregateError>>,
    },
    /// Nobody waits for it here, and it would take an AI call.
    BudgetExceeded,
}

impl From<RecentFailure> for LoadFailure {
    fn from(cooling: RecentFailure) -> Self {
        Self::SourceFailed { source_name: cooling.source_name, retry_after: cooling.left, cause: None }
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
    /// Gives a lease back and tells those who wait for it.
    pub(super) fn tell(&self, lease: Option<Lease>, view: &LogView) {
        let Some(lease) = lease else { return };
        let (kind, life) = match self {
            Self::Failed(LoadFailure::NotFound(Missing::User)) => (OutcomeKind::UserNotFound, FINAL),
            Self::Failed(LoadFailure::NotFound(Missing::Strategy)) => (OutcomeKind::StrategyNotFound, FINAL),
            Self::Failed(LoadFailure::SourceFailed { source_name, retry_after, .. }) => {
                (OutcomeKind::SourceFailed { source: (*source_name).to_owned() }, *retry_after)
            }
            // Whoever waits elsewhere is not bound by it, and loads as soon as the lease is free.
            Self::Failed(LoadFailure::BudgetExceeded) => return,
            Self::TooLarge => (OutcomeKind::TooLarge, FINAL),
        };
        let shared = StoredOutcome { epoch: view.epoch.to_string(), read_position: view.applied, kind };
        lease.end(serde_json::to_value(shared).expect("texts and numbers have a JSON form"), life);
    }

    /// From the row, with its tag; none if it says nothing to someone who holds `view`.
    pub(super) fn read(outcome: serde_json::Value, view: &LogView) -> Option<(Self, i64)> {
        let StoredOutcome { epoch, read_position, kind } = serde_json::from_value(outcome).ok()?;
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

/// The sources that a load fails with.
const REQUIRED: [&str; 2] = ["onboarding", "strategy"];

/// An outcome's form in the row.
#[derive(Serialize, Deserialize)]
struct StoredOutcome {
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
