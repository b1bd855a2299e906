//! Which state of a user's file something was read from.

use std::fmt;

/// A digest of what the file system says of a file and its journals: place, size, times and inode. Equal ones mean an
/// equal content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileFingerprint([u8; 16]);

impl FileFingerprint {
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for FileFingerprint {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for FileFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}
