//! Why the invalidation log could not be read or written.

use sea_orm::DbErr;

#[derive(Clone, Debug, thiserror::Error)]
pub enum InvalidationLogError {
    #[error("invalidation log timed out")]
    Timeout,
    #[error("invalidation log failed: {0}")]
    Database(String),
    /// This instance's lease is longer than the one that the cluster agreed on. WAIT_ALL would return too early.
    #[error(
        "invalidation_log.lease is {ours_ms} ms, but the cluster agreed on {theirs_ms} ms: use that, or change invalidation_log_head.lease_ms while no instance runs"
    )]
    Lease { ours_ms: i64, theirs_ms: i64 },
    #[error("shutting down")]
    Closed,
}

impl From<DbErr> for InvalidationLogError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.to_string())
    }
}
