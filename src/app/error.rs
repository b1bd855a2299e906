//! Why the service does not start, and why it ended other than by shutdown.

use sea_orm::DbErr;
use userdata_migrations::MigrationError;

use crate::{
    aggregate::ai_analysis::AiConfigError,
    cache::{TierError, invalidation_log::InvalidationLogError},
    changes::InstallError,
    database::PoolerRefusal,
    grpc,
    privacy::MasterKeyError,
    reload::ReloadError,
    user_files::UserFileError,
};

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{what} cannot be opened")]
    Database {
        what: &'static str,
        #[source]
        cause: DbErr,
    },
    /// Settings of connections do not take effect.
    #[error("{setting} cannot be used, because {cause}; {remedy}")]
    Pooler { setting: &'static str, cause: PoolerRefusal, remedy: String },
    /// The embedded database cannot be migrated, or its tables are of an older version.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error("the demo data cannot be written")]
    Demo(#[source] DbErr),
    #[error("the triggers on the sources' tables cannot be installed")]
    Triggers(#[from] InstallError),
    #[error(transparent)]
    UserFiles(#[from] UserFileError),
    #[error(transparent)]
    MasterKeys(#[from] MasterKeyError),
    #[error("redis.url cannot be used")]
    Redis(#[source] TierError),
    #[error(transparent)]
    Ai(#[from] AiConfigError),
    /// The files of TLS or authentication.
    #[error("callers cannot be authenticated")]
    Security(#[from] ReloadError),
    /// The cluster agreed on another lease.
    #[error(transparent)]
    InvalidationLog(InvalidationLogError),
    /// A defect of the build.
    #[error("reflection cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Why serving ended other than by shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster agreed on another lease, which became known after the start.
    #[error(transparent)]
    InvalidationLog(InvalidationLogError),
    #[error(transparent)]
    Serve(#[from] grpc::ServeError),
}
