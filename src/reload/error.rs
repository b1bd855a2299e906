//! Why a value cannot be made of its files.

use std::{path::PathBuf, time::Duration};

/// A value cannot be made of its files.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// One cannot be read.
    #[error("{path} cannot be read", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Reading them does not end.
    #[error("{paths}: the file system does not answer within {within:?}")]
    Hangs {
        /// Which ones.
        paths: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// They can be read, but their contents are wrong.
    #[error("{paths}: {cause}")]
    Content {
        /// Which ones.
        paths: String,
        /// Why, without quoting them.
        cause: String,
    },
}
