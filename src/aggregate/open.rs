//! Where the sources are read: one database for all users, or a copy of the user's file.

use std::{sync::Arc, time::Duration};

use super::{SourceError, sql::SourceDatabase};
use crate::{
    model::UserId,
    source_schema::Schemas,
    user_files::{Look, UserFile, UserFiles},
};

/// Where all users' tables are.
#[derive(Clone, Debug)]
pub enum SourcePlace {
    Shared(SourceDatabase),
    Files(FileSources),
}

/// A file per user.
#[derive(Clone, Debug)]
pub struct FileSources {
    files: UserFiles,
    schemas: Arc<Schemas>,
    /// A larger JSON column counts as absent.
    column_bytes_max: usize,
}

impl FileSources {
    #[must_use]
    pub fn new(files: UserFiles, column_bytes_max: usize) -> Self {
        Self { files, schemas: Arc::default(), column_bytes_max }
    }

    /// A copy of the user's file. Waits while it is being written, up to `limit`.
    async fn open(&self, user: &UserId, limit: Duration) -> Result<OpenSources, SourceError> {
        let read = tokio::time::timeout(limit, self.files.read(user)).await.map_err(|_elapsed| SourceError::Timeout)?;
        let file = read.map_err(|error| SourceError::File(Arc::new(error)))?;
        let look = Some(file.look().clone());
        let database = match file {
            UserFile::Absent(_) => None,
            UserFile::Copy(copy) => Some(SourceDatabase::of_copy(copy, &self.schemas, self.column_bytes_max)),
        };
        Ok(OpenSources { database, look })
    }
}

/// The database for one load: what all its sources are read from.
#[derive(Clone, Debug)]
pub struct OpenSources {
    /// None: the user has no file.
    pub(super) database: Option<SourceDatabase>,
    /// At the user's file, before it was read. None: one database for all users.
    pub look: Option<Look>,
}

impl From<SourceDatabase> for SourcePlace {
    fn from(database: SourceDatabase) -> Self {
        Self::Shared(database)
    }
}

impl From<FileSources> for SourcePlace {
    fn from(files: FileSources) -> Self {
        Self::Files(files)
    }
}

impl SourcePlace {
    /// The files, if each user has one.
    #[must_use]
    pub fn files(&self) -> Option<&UserFiles> {
        match self {
            Self::Shared(_) => None,
            Self::Files(of) => Some(&of.files),
        }
    }

    /// What a user's sections are read from.
    pub(super) async fn open(&self, user: &UserId, limit: Duration) -> Result<OpenSources, SourceError> {
        match self {
            Self::Shared(database) => Ok(OpenSources { database: Some(database.clone()), look: None }),
            Self::Files(files) => files.open(user, limit).await,
        }
    }
}
