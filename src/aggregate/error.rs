//! How a source fails, and why no document could be assembled.

use std::sync::Arc;

/// Why a source could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// A statement failed.
    #[error("a statement failed")]
    Sql(#[source] Arc<sea_orm::DbErr>),
    /// It did not answer in time.
    #[error("timed out")]
    Timeout,
    /// It failed often and is left alone for a while.
    #[error("left alone after failures")]
    BreakerOpen,
    /// It panicked; only this section fails.
    #[error("panicked")]
    Panic,
    /// It would take an AI call, which is left to whoever waits for it.
    #[error("left to whoever waits for it")]
    Withheld,
    /// The AI analysis failed; the reason is one of data.md's `AI_*`.
    #[error("{reason}: {detail}")]
    Ai {
        /// `AI_TIMEOUT` and the like.
        reason: &'static str,
        /// What happened, for the log; never a body, never a key.
        detail: String,
    },
}

impl SourceError {
    /// The section report's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Sql(_) => "SQL_ERROR",
            Self::Timeout => "TIMEOUT",
            Self::BreakerOpen => "BREAKER_OPEN",
            Self::Panic => "PANIC",
            Self::Withheld => "WITHHELD",
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
    /// The user is unknown: no session and no strategy.
    #[error("the user is unknown")]
    UnknownUser,
    /// The strategy asked for is not there, or is somebody else's.
    #[error("the strategy is unknown")]
    UnknownStrategy,
    /// Nobody waits for it, and it would take an AI call beyond the budget.
    #[error("an AI call is left to whoever waits for it")]
    Withheld,
    /// A required source failed.
    #[error("the source {name} failed")]
    Source {
        /// Which one.
        name: &'static str,
        /// How.
        #[source]
        error: SourceError,
    },
}
