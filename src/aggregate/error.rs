//! How a source fails, and why no document could be assembled.

use std::sync::Arc;

use crate::user_files::UserFileError;

/// Why a source has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    #[error("a statement failed")]
    Sql(#[source] Arc<sea_orm::DbErr>),
    #[error(
        "the sources' database has none of onboarding_sessions, enhanced_content_strategies and content_strategies; \
         sources.database_url has to name the planning application's database"
    )]
    NoTables,
    #[error(
        "sources.database_url names a replica whose primary is not known; sources.relay_database_url has to name the \
         primary of the same database"
    )]
    NoPrimary,
    /// The user's file, where each user has one.
    #[error(transparent)]
    File(Arc<UserFileError>),
    #[error("timed out")]
    Timeout,
    #[error("circuit open after failures; the source is not read until a probe succeeds")]
    BreakerOpen,
    /// Only this section fails.
    #[error("panicked")]
    Panic,
    /// A prefetch that would take an AI call beyond its budget. Never returned to a caller.
    #[error("the prefetch budget for AI calls is used up")]
    BudgetExceeded,
    /// The AI analysis failed; the reason is one of data.md's `AI_*`.
    #[error("{reason}: {detail}")]
    Ai {
        reason: &'static str,
        /// For the log; never a body, never a key.
        detail: String,
    },
}

impl SourceError {
    /// The section report's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Sql(_) => "SQL_ERROR",
            Self::NoTables => "NO_SOURCE_TABLES",
            Self::NoPrimary => "REPLICA_WITHOUT_PRIMARY",
            Self::File(_) => "FILE_ERROR",
            Self::Timeout => "TIMEOUT",
            Self::BreakerOpen => "BREAKER_OPEN",
            Self::Panic => "PANIC",
            Self::BudgetExceeded => "BUDGET_EXCEEDED",
            Self::Ai { reason, .. } => reason,
        }
    }
}

impl From<sea_orm::DbErr> for SourceError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Sql(Arc::new(error))
    }
}

#[cfg(feature = "mutants")]
impl From<crate::fault::Injected> for SourceError {
    fn from(error: crate::fault::Injected) -> Self {
        sea_orm::DbErr::from(error).into()
    }
}

/// Why no document could be assembled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AggregateError {
    /// There is no session and no strategy of this user.
    #[error("the user is unknown")]
    UnknownUser,
    /// The strategy asked for does not exist, or belongs to another user.
    #[error("the strategy is unknown")]
    UnknownStrategy,
    /// A prefetch would take an AI call beyond its budget. Never returned to a caller: a waiting one starts its own
    /// load.
    #[error("the prefetch budget for AI calls is used up")]
    BudgetExceeded,
    #[error("the required source {name} failed")]
    Source {
        name: &'static str,
        #[source]
        error: SourceError,
    },
}
