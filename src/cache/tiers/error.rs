//! How a tier fails. The failure is counted, logged and treated as a miss; it never leaves `cache`.

use std::{error::Error as _, sync::Arc};

use crate::privacy::KeyError;

/// The text holds no payload.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TierError {
    #[error("timed out")]
    Timeout,
    /// The call was skipped.
    #[error("circuit open")]
    Open,
    #[error("Redis failed")]
    Redis(#[source] fred::error::Error),
    #[error("the database failed")]
    Database(#[source] Arc<sea_orm::DbErr>),
    /// The value may be readable later.
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("unreadable: {0}")]
    Garbage(String),
}

impl TierError {
    /// The error and its cause in one line.
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
