//! Assembling a document from its five sources: what starts at once, what waits for what, what is
//! required, and what a failure means.
//!
//! Sources never import each other and know no cache. They share the readers ([`value`]), the way
//! to read tables ([`sql`]) and the rows that more than one of them works on ([`rows`]).

pub mod ai_analysis;
pub mod derived;
pub mod gap_analysis;
pub mod guard;
pub mod onboarding;
pub mod performance;
pub mod rows;
pub mod sql;
pub mod strategy;
#[cfg(test)]
mod strategy_tables;
mod value;

use std::sync::Arc;

/// What a source hands on: its result, and what was left out of it.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// The result.
    pub value: T,
    /// For the section's report.
    pub warnings: sql::Warnings,
}

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
            Self::Ai { reason, .. } => reason,
        }
    }
}

impl From<sea_orm::DbErr> for SourceError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Sql(Arc::new(error))
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
