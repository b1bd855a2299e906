//! Why a user's key is not to be had, and why master keys cannot be used.

use std::{error::Error as _, path::PathBuf, sync::Arc};

use crate::reload::ReloadError;

/// Why a user's key is not to be had. What it encrypts may be readable later.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key database does not answer in time")]
    Timeout,
    /// The call was skipped.
    #[error("the circuit of the key database is open")]
    Open,
    #[error("the key database failed")]
    Database(#[source] Arc<sea_orm::DbErr>),
    #[error("a user's key is wrapped by the master key {0}, which privacy.master_key_file does not have")]
    NoMasterKey(String),
    #[error(
        "a user's key cannot be unwrapped by the master key {0}: its row or the master key is not the original one"
    )]
    NotUnwrapped(String),
}

impl KeyError {
    /// The error and its cause in one line.
    #[must_use]
    pub fn line(&self) -> String {
        self.source().map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }
}

/// Why `privacy.master_key_file` cannot be used. The text quotes no key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("privacy.master_key_file cannot be read")]
    Read(#[from] ReloadError),
    #[error("{}: line {line}: {problem}", path.display())]
    Line { path: PathBuf, line: usize, problem: &'static str },
    #[error("{}: there is no master key in it; `userdata keys new NAME` writes one", path.display())]
    Empty { path: PathBuf },
    #[error(
        "privacy.master_key_file: the master key {name} is another one than the key of this name that wraps the users' keys: \
         nothing that is stored could be read; put the original line back"
    )]
    Wrong { name: String },
}
