//! The folder of this process's copies: in memory if possible, closed to other users, gone with the process.
//!
//! A process locks its folder, and the kernel frees the lock however the process ends. So a folder whose lock is free is
//! a leftover, and the next start removes it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rustix::fs::{Access, FlockOperation, access, flock, fstat};

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "userdata-copies-";
/// A cleaning process may take the new folder's lock just before this one does.
const TRIES: u32 = 10;

/// Where the folder is made: as configured, or else in memory, or else where temporary files are.
#[must_use]
pub fn copies_parent(configured: Option<&Path>) -> PathBuf {
    match configured {
        Some(parent) => parent.to_owned(),
        None if access(MEMORY, Access::WRITE_OK | Access::EXEC_OK).is_ok() => MEMORY.into(),
        None => std::env::temp_dir(),
    }
}

#[derive(Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
    made: AtomicU64,
    /// Holds the lock.
    _lock: OwnedFd,
}

/// The folder of one copy. Dropping it removes it.
#[derive(Debug)]
pub(super) struct CopyFolder(PathBuf);

impl PrivateFolder {
    /// Below [`copies_parent`].
    pub(super) fn create(parent: Option<&Path>) -> Result<Self, Arc<io::Error>> {
        Self::below(&copies_parent(parent)).map_err(Arc::new)
    }

    fn below(parent: &Path) -> io::Result<Self> {
        remove_leftovers(parent)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
            DirBuilder::new().mode(0o700).create(&path)?;
            match locked(&path) {
                Ok(lock) => return Ok(Self { path, made: AtomicU64::new(0), _lock: lock }),
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        }
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn subfolder(&self) -> Result<CopyFolder, Arc<io::Error>> {
        let path = self.path.join(self.made.fetch_add(1, Relaxed).to_string());
        DirBuilder::new().mode(0o700).create(&path).map_err(Arc::new)?;
        Ok(CopyFolder(path))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // What cannot be removed now, the next start removes.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl CopyFolder {
    /// The copy of the file, or of its journal with this suffix.
    pub(super) fn file(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("copy.db{suffix}"))
    }
}

impl Drop for CopyFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The lock of a folder that exists.
fn locked(path: &Path) -> io::Result<OwnedFd> {
    let folder = OwnedFd::from(File::open(path)?);
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    // Another process may have removed it between the two calls.
    if fstat(&folder)?.st_nlink == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(folder)
}

/// Removes the folders of processes that were killed. Those of other users cannot be opened.
fn remove_leftovers(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && entry.file_name().to_string_lossy().starts_with(PREFIX) && locked(&entry.path()).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
