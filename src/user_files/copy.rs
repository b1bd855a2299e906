//! Copies a user's file with its journals.
//!
//! The copy is what a crash of the application at this moment would leave on the disk. SQLite recovers from that by itself.
//! Order: the caller has found the file settled, copies, and looks again. So no write happens in between unseen.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use super::{
    Look, Places, UserFileError,
    below::Folder,
    look::{FileFacts, JOURNALS},
    name::file_name,
    private_folder::CopyFolder,
};
use crate::model::UserId;

/// The end of a rollback journal that names another file, in which a transaction over several databases is decided.
const NAMES_ANOTHER: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// A copy that no one has opened yet.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) look: Look,
    pub(super) folder: CopyFolder,
}

/// Copies what `look` saw into `folder`.
pub(super) fn copy(places: &Places, user: &UserId, look: &Look, folder: CopyFolder) -> Result<Copied, UserFileError> {
    let template = look.place.and_then(|place| places.get(place)).ok_or(UserFileError::Changing)?;
    let name = file_name(user).ok_or(UserFileError::Changing)?;
    let from = Folder::open(template.root(), &template.below_root(&name))?;
    for (suffix, expected) in ["", JOURNALS[0], JOURNALS[1]].into_iter().zip(&look.files) {
        if !expected.is_there {
            continue;
        }
        let (mut file, stat) = from.file(suffix)?.ok_or(UserFileError::Changing)?;
        if FileFacts::of(&stat) != *expected {
            return Err(UserFileError::Changing);
        }
        if suffix == JOURNALS[1] && names_another(&mut file).map_err(io_error)? {
            return Err(UserFileError::ManyFiles);
        }
        let mut to = File::create_new(folder.file(suffix)).map_err(|error| UserFileError::Folder(Arc::new(error)))?;
        let copied = io::copy(&mut file.take(expected.size), &mut to).map_err(io_error)?;
        if copied != expected.size {
            return Err(UserFileError::Changing);
        }
    }
    Ok(Copied { look: look.clone(), folder })
}

/// To complete such a transaction, SQLite would open, and perhaps delete, a file beside the original.
fn names_another(journal: &mut File) -> io::Result<bool> {
    let mut end = [0; NAMES_ANOTHER.len()];
    if journal.metadata()?.len() < end.len() as u64 {
        return Ok(false);
    }
    journal.seek(SeekFrom::End(-8))?;
    journal.read_exact(&mut end)?;
    journal.rewind()?;
    Ok(end == NAMES_ANOTHER)
}

fn io_error(error: io::Error) -> UserFileError {
    UserFileError::Io(Arc::new(error))
}
