//! How a tier fails. Counted, logged, treated as a miss; it never leaves `cache`.

use std::{error::Error as _, sync::Arc};

use super::redis::record::RecordError;

/// Why a tier could not do what it was asked. Its text holds no payload.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TierError {
    /// It did not answer in time.
    #[error("timed out")]
    Timeout,
    /// Its breaker is open: it was not asked.
    #[error("left alone after failures")]
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
