//! What the key database knows a user by: a digest of the id, so that neither it nor its backups list users.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::UserId;

/// SHA-256 of a user's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KeyHolder([u8; 32]);

impl fmt::Debug for KeyHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}

impl KeyHolder {
    pub(super) fn of(user: &UserId) -> Self {
        Self(Sha256::digest(user.as_str()).into())
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    #[cfg(test)]
    pub(super) fn of_text(user: &str) -> Self {
        Self::of(&UserId::parse(user).unwrap())
    }
}
