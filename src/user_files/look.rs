//! What the file system says of a user's file, without opening it.
//!
//! A look may follow a symbolic link in a folder's name, because it opens nothing; reading refuses such a path.

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use rustix::{
    fs::{AtFlags, CWD, Stat, statat},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use super::{
    Places, UserFileError,
    file_system::{FileSystem, FileSystems},
    name::file_name,
};
use crate::{
    clock::{Clock, Moment},
    model::{FileFingerprint, UserId},
};

/// The suffixes of a file's WAL and rollback journal.
pub(super) const JOURNALS: [&str; 2] = ["-wal", "-journal"];

/// What the file system said of a user's file at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    pub fingerprint: FileFingerprint,
    /// When the look began.
    pub at: Moment,
    /// Where the file is.
    pub file_system: FileSystem,
    /// The place in the list of templates. None: the user has no file.
    pub(super) place: Option<usize>,
    /// The file, its WAL and its rollback journal.
    pub(super) files: [FileFacts; 3],
}

/// Of one file. All zero if it is absent, or an empty journal, which says the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub(super) is_there: bool,
    pub(super) size: u64,
    pub(super) inode: u64,
    /// Seconds and nanoseconds of the last change, and of the last write.
    pub(super) changed: (i64, i64),
    pub(super) written: (i64, i64),
}

impl FileFacts {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            is_there: true,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            inode: stat.st_ino,
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
            written: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
        }
    }

    fn digest(&self, digest: &mut Sha256) {
        digest.update([u8::from(self.is_there)]);
        digest.update(self.size.to_be_bytes());
        digest.update(self.inode.to_be_bytes());
        for (seconds, nanoseconds) in [self.changed, self.written] {
            digest.update(seconds.to_be_bytes());
            digest.update(nanoseconds.to_be_bytes());
        }
    }
}

fn nanoseconds(of: impl TryInto<i64>) -> i64 {
    of.try_into().unwrap_or_default()
}

impl Look {
    fn new(place: Option<usize>, files: [FileFacts; 3], file_system: FileSystem, at: Moment) -> Self {
        let mut digest = Sha256::new();
        digest.update(place.map_or(u64::MAX, |place| place as u64).to_be_bytes());
        files.iter().for_each(|file| file.digest(&mut digest));
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest.finalize()[..16]);
        Self { fingerprint: fingerprint.into(), at, file_system, place, files }
    }

    /// Whether the user has no file at all.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.place.is_none()
    }

    /// Whether there is anything to read. The application makes an empty file before it makes tables.
    pub(super) fn has_content(&self) -> bool {
        self.bytes() > 0
    }

    /// Of the file and its journals.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Whether any later write gives the file another fingerprint. An error says how long to wait.
    ///
    /// Only times of change count, because a restore may set a time of writing. A time in the future (the clock was set
    /// back) is another one than that of any write from now on.
    pub(super) fn settled(&self, clock: &Clock) -> Result<(), UserFileError> {
        let now = clock.utc();
        let is_coarse = |file: &FileFacts| file.is_there && file.changed.1 == 0;
        let exact_after = match self.files.iter().any(is_coarse) {
            // Whole seconds: the file system may have no others.
            true => FileSystem::Unknown.exact_after(),
            false => self.file_system.exact_after(),
        };
        let distance = |file: &FileFacts| {
            let changed = DateTime::<Utc>::from_timestamp(file.changed.0, file.changed.1.try_into().ok()?)?;
            Some(Duration::from_micros((now - changed).num_microseconds()?.unsigned_abs()))
        };
        let nearest = self.files.iter().filter(|file| file.is_there).filter_map(distance).min();
        match nearest.filter(|nearest| *nearest < exact_after) {
            Some(nearest) => Err(UserFileError::Unsettled { wait: exact_after - nearest }),
            None => Ok(()),
        }
    }
}

/// Looks at the places in order; the first that has a file counts, as in the application.
pub(super) fn look(
    places: &Places,
    file_systems: &FileSystems,
    user: &UserId,
    at: Moment,
) -> Result<Look, UserFileError> {
    if let Some(name) = file_name(user) {
        for (place, template) in places.iter().enumerate() {
            let path = template.root().join(template.below_root(&name));
            let Some(stat) = stat(&path)? else { continue };
            let file_system = file_systems.of(stat.st_dev, path.parent().unwrap_or(&path))?;
            let mut files = [FileFacts::of(&stat), FileFacts::default(), FileFacts::default()];
            for (facts, suffix) in files[1..].iter_mut().zip(JOURNALS) {
                let mut journal = path.clone().into_os_string();
                journal.push(suffix);
                let journal = self::stat(Path::new(&journal))?.filter(|stat| stat.st_size > 0);
                *facts = journal.map(|stat| FileFacts::of(&stat)).unwrap_or_default();
            }
            return Ok(Look::new(Some(place), files, file_system, at));
        }
    }
    let mut file_system = FileSystem::Local;
    for template in places {
        file_system = absent_below(template.root(), file_systems)?;
    }
    Ok(Look::new(None, Default::default(), file_system, at))
}

/// None if there is no such file.
fn stat(path: &Path) -> Result<Option<Stat>, UserFileError> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        // The application cannot have made a file whose name is too long.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// That a file is absent says something only if its root is there and has something in it.
fn absent_below(root: &Path, file_systems: &FileSystems) -> Result<FileSystem, UserFileError> {
    let unreadable = |cause| UserFileError::Root { root: root.to_owned(), cause: Arc::new(cause) };
    let mut entries = std::fs::read_dir(root).map_err(unreadable)?;
    match entries.next() {
        None => Err(UserFileError::RootEmpty { root: root.to_owned() }),
        Some(entry) => {
            entry.map_err(unreadable)?;
            let stat = statat(CWD, root, AtFlags::empty())?;
            Ok(file_systems.of(stat.st_dev, root)?)
        }
    }
}
