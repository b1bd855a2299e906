//! What is in the folder of the users' files, for an operator.

use std::{fs, path::Path, sync::Arc};

use rustix::fs::{Access, access};

use super::{FileSystem, UserFileError};
use crate::config::FileTemplate;

/// What a bounded look around found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Users with a file.
    pub files: usize,
    /// Files that this process may not read.
    pub unreadable: usize,
    /// In bytes.
    pub largest: u64,
    /// There are more entries than were looked at.
    pub is_part: bool,
    pub file_system: FileSystem,
}

/// Looks at no more than so many entries of the first place's root.
pub fn survey(places: &[FileTemplate], entries_max: usize) -> Result<Survey, UserFileError> {
    let first = places.first().ok_or(UserFileError::Busy)?;
    let root = first.root();
    let unreadable = |cause| UserFileError::Root { root: root.to_owned(), cause: Arc::new(cause) };
    let file_system = FileSystem::of(root).map_err(|errno| unreadable(errno.into()))?;
    let mut survey = Survey { files: 0, unreadable: 0, largest: 0, is_part: false, file_system };
    let (before, after) = first.first_component();
    for (number, entry) in fs::read_dir(root).map_err(unreadable)?.enumerate() {
        if number == entries_max {
            survey.is_part = true;
            break;
        }
        let name = entry.map_err(unreadable)?.file_name();
        let Some(user) = name.to_str().and_then(|name| name.strip_prefix(before)?.strip_suffix(after)) else {
            continue;
        };
        let mut paths = places.iter().map(|place| place.root().join(place.below_root(user)));
        if let Some((path, size)) = paths.find_map(|path| size(&path).map(|size| (path, size))) {
            survey.files += 1;
            survey.largest = survey.largest.max(size);
            survey.unreadable += usize::from(access(&path, Access::READ_OK).is_err());
        }
    }
    Ok(survey)
}

/// None if there is no such file.
fn size(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|of| of.len())
}
