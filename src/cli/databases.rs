//! Connections of commands to databases, and how their failures are reported.

use tonic::Code;
use userdata_migrations::MigrationError;

use super::failure::Failure;
use crate::{
    app::{StartError, connect_keys, connect_single},
    config::{Config, DatabaseSetting},
    database::{Access, Pool},
    error::with_causes,
};

pub(super) async fn open(named: DatabaseSetting<'_>, access: Access, config: &Config) -> Result<Pool, Failure> {
    let opened = connect_single("the database", named, access, config.sources.hard_timeout).await;
    opened.map_err(|error| not_opened(named, error))
}

/// The key database.
pub(super) async fn open_keys(named: DatabaseSetting<'_>, access: Access, config: &Config) -> Result<Pool, Failure> {
    let opened = connect_keys(named, access, config.sources.hard_timeout).await;
    opened.map_err(|error| not_opened(named, error))
}

fn not_opened(named: DatabaseSetting<'_>, error: StartError) -> Failure {
    match error {
        StartError::Migration(error) => not_migrated(error),
        error @ StartError::Pooler { .. } => Failure::new(Code::FailedPrecondition, error.to_string()),
        error => Failure::new(Code::Unavailable, format!("{}: {}", named.url.place(), with_causes(&error))),
    }
}

/// UNAVAILABLE, so that a script retries, only if the database could not be reached.
pub(super) fn not_migrated(error: MigrationError) -> Failure {
    match error {
        MigrationError::Database(_) => failed(error),
        _ => Failure::new(Code::FailedPrecondition, error.to_string()),
    }
}

pub(super) fn failed(error: impl std::error::Error) -> Failure {
    Failure::new(Code::Unavailable, with_causes(&error))
}
