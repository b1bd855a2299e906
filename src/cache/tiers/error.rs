//! How a tier fails. Counted, logged, treated as a miss; it never leaves `cache`.

use std::{error::Error as _, sync::Arc};

use super::redis::record::RecordError;
use crate::circuit_breaker::CircuitBreaker;

/// Why a tier could not do what it was asked. Its text holds no payload.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TierError {
    /// It did not answer in time.
    #[error("timed out")]
    Timeout,
    /// The tier was not called.
    #[error("circuit open")]
    Open,
    /// Redis refused, or cannot be reached.
    #[error("Redis failed")]
    Redis(#[source] fred::error::Error),
    /// The database refused, or cannot be reached.
    #[error("the database failed")]
    Database(#[source] Arc<sea_orm::DbErr>),
    /// What is stored cannot be read.
    #[error("unreadable: {0}")]
    Garbage(String),
}

impl TierError {
    /// The error and its cause in one line, for statistics and for whoever has no chain to print.
    #[must_use]
    pub fn line(&self) -> String {
        self.source().map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }

    /// Tells a tier's circuit breaker how a call ended. Unreadable content counts as an answer.
    pub(super) fn report<T>(answer: &Result<T, Self>, breaker: &CircuitBreaker) {
        match answer {
            Ok(_) | Err(Self::Garbage(_)) => breaker.succeeded(),
            Err(error) => breaker.failed(&error.line()),
        }
    }
}

impl From<fred::error::Error> for TierError {
    fn from(error: fred::error::Error) -> Self {
        if *error.kind() == fred::error::ErrorKind::Timeout {
            return Self::Timeout;
        }
        if error.details().starts_with("WRONGTYPE") {
            return Self::Garbage("a value of another type".to_owned());
        }
        Self::Redis(error)
    }
}

impl From<sea_orm::DbErr> for TierError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<RecordError> for TierError {
    fn from(error: RecordError) -> Self {
        Self::Garbage(error.to_string())
    }
}
