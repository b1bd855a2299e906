//! One SQLite file per user, as the planning application keeps them: read without touching them.
//!
//! SQLite never opens a file there. A reader with another uid would leave `-shm` and `-wal` files behind that it owns, and
//! from then on every write of the application would fail. A load copies the file and its journals to a private folder
//! and opens the copy ([`copies`]), which recovers WAL and journals by itself.
//!
//! A [`Look`] asks the file system only, so it costs microseconds. Its fingerprint tells whether the file has changed.
//!
//! Decision: a file above `sources.file_copy_max` is refused, whoever owns it. To open it in place was rejected: a process
//! that is killed leaves a `-shm` behind there, a read holds up checkpoints, and SQLite follows symbolic links.
//! inotify was rejected: it needs a watch per folder, of which a user of the machine has few, and drops events under load.

mod below;
mod copies;
mod copy;
mod error;
mod file_system;
mod look;
mod name;
mod private_folder;
mod survey;

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use self::{copies::Copies, copy::Copied, file_system::FileSystems, private_folder::PrivateFolder};
pub use self::{
    copies::FileCopy,
    error::UserFileError,
    file_system::FileSystem,
    look::Look,
    name::file_name,
    private_folder::copies_parent,
    survey::{Survey, survey},
};
use crate::{
    clock::Clock,
    config::{FileTemplate, SourcesSettings},
    model::UserId,
};

/// Threads that look at files, and that copy them. A file system that hangs holds so many and no more.
const LOOKS_MAX: usize = 8;
const COPYING_MAX: usize = 4;
/// How long to wait for a file that is being written. Longer than two seconds, after which the times of a file are
/// trusted on any file system.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Between attempts to copy a file that changes meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// Where a user's file is looked for, in order.
type Places = Vec<FileTemplate>;

/// The files of all users. Clones share the copies.
#[derive(Clone, Debug)]
pub struct UserFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Places,
    file_systems: FileSystems,
    copies: Copies,
    folder: PrivateFolder,
    copy_bytes_max: u64,
    /// Apart from copying, which takes a thousand times as long.
    looks: Arc<Semaphore>,
    copying: Arc<Semaphore>,
    clock: Clock,
}

/// A user's file for one load.
#[derive(Clone, Debug)]
pub enum UserFile {
    /// There is none, or it is empty.
    Absent(Box<Look>),
    Copy(Arc<FileCopy>),
}

impl UserFile {
    /// What the file system said before the file was read.
    #[must_use]
    pub fn look(&self) -> &Look {
        match self {
            Self::Absent(look) => look,
            Self::Copy(copy) => &copy.look,
        }
    }
}

impl UserFiles {
    /// Makes the private folder for the copies, and removes those of processes that were killed.
    pub fn open(config: &SourcesSettings, places: Places, clock: Clock) -> Result<Self, UserFileError> {
        let folder = PrivateFolder::create(config.file_copies_in.as_deref()).map_err(UserFileError::Folder)?;
        Ok(Self(Arc::new(Inner {
            places,
            file_systems: FileSystems::new(clock.clone()),
            copies: Copies::new(config, clock.clone()),
            folder,
            copy_bytes_max: config.file_copy_max,
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
            copying: Arc::new(Semaphore::new(COPYING_MAX)),
            clock,
        })))
    }

    /// Asks the file system for a user's file.
    pub async fn look(&self, user: &UserId) -> Result<Look, UserFileError> {
        let user = user.clone();
        self.call(&self.0.looks, move |shared| shared.look(&user)).await
    }

    /// As [`Self::look`], on the thread of the caller.
    pub fn look_blocking(&self, user: &UserId) -> Result<Look, UserFileError> {
        self.0.look(user)
    }

    /// A user's file, to be read: the copy that is there if the file has not changed, or a new one. Waits while the file
    /// is being written.
    pub async fn read(&self, user: &UserId) -> Result<UserFile, UserFileError> {
        let began = self.0.clock.now();
        loop {
            match self.try_read(user).await {
                Err(error @ UserFileError::Unsettled { .. } | error @ UserFileError::Changing) => {
                    if self.0.clock.now() >= began.after(WAIT_MAX) {
                        return Err(UserFileError::Busy);
                    }
                    let pause = if let UserFileError::Unsettled { wait } = error { wait } else { PAUSE };
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
        }
    }

    async fn try_read(&self, user: &UserId) -> Result<UserFile, UserFileError> {
        let look = self.look(user).await?;
        if !look.has_content() {
            return Ok(UserFile::Absent(Box::new(look)));
        }
        if let Some(copy) = self.0.copies.current(user, &look) {
            return Ok(UserFile::Copy(copy));
        }
        look.settled(&self.0.clock)?;
        if look.bytes() > self.0.copy_bytes_max {
            return Err(UserFileError::TooLarge { bytes: look.bytes(), max: self.0.copy_bytes_max });
        }
        let room = self.0.copies.room(look.bytes()).await?;
        let name = user.clone();
        let copied = self.call(&self.0.copying, move |shared| shared.copy(&name, &look)).await?;
        let copy = FileCopy::open(copied, room, &self.0.clock).await?;
        Ok(UserFile::Copy(self.0.copies.keep(user, copy)))
    }

    /// Closes copies that were not used for a while.
    pub fn close_idle(&self) {
        self.0.copies.close_idle();
    }

    /// The number of copies, and their bytes.
    #[must_use]
    pub fn copies(&self) -> (usize, u64) {
        self.0.copies.levels()
    }

    /// Calls the file system on a thread that may block.
    async fn call<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        work: impl FnOnce(&Inner) -> Result<T, UserFileError> + Send + 'static,
    ) -> Result<T, UserFileError> {
        // Neither semaphore is ever closed.
        let permit = Arc::clone(permits).acquire_owned().await.map_err(|_closed| UserFileError::Busy)?;
        let shared = Arc::clone(&self.0);
        let called = tokio::task::spawn_blocking(move || {
            // Held by the thread: a caller that gives up does not free it.
            let _permit = permit;
            work(&shared)
        });
        called.await.map_err(|_panicked| UserFileError::Busy)?
    }
}

impl Inner {
    fn look(&self, user: &UserId) -> Result<Look, UserFileError> {
        look::look(&self.places, &self.file_systems, user, self.clock.now())
    }

    /// Copies the file that `look` saw, and looks again: a copy of a file that changed meanwhile is refused.
    fn copy(&self, user: &UserId, look: &Look) -> Result<Copied, UserFileError> {
        let copied = copy::copy(&self.places, user, look, self.folder.subfolder().map_err(UserFileError::Folder)?)?;
        if self.look(user)?.fingerprint != look.fingerprint {
            return Err(UserFileError::Changing);
        }
        Ok(copied)
    }
}

#[cfg(test)]
mod tests;
