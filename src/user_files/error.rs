//! Why a user's file cannot be read. No message names the user.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

#[derive(Debug, Clone, thiserror::Error)]
pub enum UserFileError {
    /// The folder of all users' files is missing or cannot be read: nothing is known about any user.
    #[error("the folder of the users' files, {}, cannot be read", root.display())]
    Root {
        root: PathBuf,
        #[source]
        cause: Arc<io::Error>,
    },
    /// Probably a file system that is not mounted.
    #[error("the folder of the users' files, {}, is empty; is its file system mounted?", root.display())]
    RootEmpty { root: PathBuf },
    #[error("the user's file cannot be read")]
    Io(#[source] Arc<io::Error>),
    /// It could lead out of the folder.
    #[error("the path of the user's file has a symbolic link, or something other than folders and a file")]
    Refused,
    #[error("the user's file has {bytes} bytes, more than sources.file_copy_max ({max})")]
    TooLarge { bytes: u64, max: u64 },
    /// Two writes may leave the same times: they are trusted after this.
    #[error("the user's file was written a moment ago")]
    Unsettled { wait: Duration },
    #[error("the user's file changed while it was copied")]
    Changing,
    #[error("the user's file is being written all the time, or the file system does not answer")]
    Busy,
    /// A transaction over several databases, which the copy cannot complete.
    #[error("the user's file is part of a transaction over several files that has not ended")]
    ManyFiles,
    #[error("the private folder for copies of users' files cannot be used")]
    Folder(#[source] Arc<io::Error>),
    #[error("the copy of the user's file cannot be opened")]
    Database(#[source] Arc<sea_orm::DbErr>),
}

impl From<rustix::io::Errno> for UserFileError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(Arc::new(errno.into()))
    }
}
