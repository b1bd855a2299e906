//! Opens a file below a root. No name on the way may be a symbolic link, so no path leaves the root, also if someone
//! exchanges folders meanwhile: each name is opened in the folder opened before.
//!
//! `openat2` with `RESOLVE_BENEATH` was rejected: containers refuse it now and then, and this needs no second way.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fstat, open, openat},
    io::Errno,
};

use super::UserFileError;

/// The folder of a user's file, and the file's name in it.
#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
    name: OsString,
}

impl Folder {
    /// The folder of `root`/`below`.
    pub(super) fn open(root: &Path, below: &Path) -> Result<Self, UserFileError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The root may be a link: the configuration names it.
        let mut folder = open(root, flags, Mode::empty())?;
        for part in below.parent().into_iter().flatten() {
            folder = openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(refused)?;
        }
        let name = below.file_name().ok_or(UserFileError::Refused)?.to_owned();
        Ok(Self { folder, name })
    }

    /// The file with `suffix` after its name. None if it is absent.
    pub(super) fn file(&self, suffix: &str) -> Result<Option<(File, Stat)>, UserFileError> {
        let mut name = self.name.clone();
        name.push(OsStr::new(suffix));
        // Without waiting for a writer, if it is a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(refused)?,
        };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(UserFileError::Refused);
        }
        Ok(Some((file.into(), stat)))
    }
}

fn refused(errno: Errno) -> UserFileError {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO => UserFileError::Refused,
        // It was there a moment ago.
        Errno::NOENT => UserFileError::Changing,
        errno => errno.into(),
    }
}
