//! The key of one user, and what an encrypted value looks like: a byte for the version of this format, the 16 bytes of
//! the key's id, and the value as [`cipher`](super::cipher) has it.

use std::fmt;

use super::{
    cipher::{CIPHER_OVERHEAD, SecretKey, fill},
    context::ValueContext,
};

const VERSION: u8 = 1;
const ID_BYTES: usize = 16;

/// What encryption adds to a value.
pub const OVERHEAD: usize = 1 + ID_BYTES + CIPHER_OVERHEAD;

/// Names a key in the values that it encrypts. Random: a user's next key has another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyId([u8; ID_BYTES]);

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}

impl KeyId {
    pub(super) fn bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    pub(super) fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut id = [0; ID_BYTES];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }
}

/// The key of one user.
#[derive(Debug)]
pub struct UserKey {
    pub(super) id: KeyId,
    pub(super) secret: SecretKey,
}

/// A value that some key has encrypted.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncryptedValue<'a> {
    pub(super) key: KeyId,
    encrypted: &'a [u8],
}

impl UserKey {
    pub(super) fn random() -> Self {
        let mut id = [0; ID_BYTES];
        fill(&mut id);
        Self { id: KeyId(id), secret: SecretKey::random() }
    }

    /// Appends the encrypted value to `to`.
    pub fn encrypt(&self, context: &ValueContext<'_>, value: &[u8], to: &mut Vec<u8>) {
        to.reserve(OVERHEAD + value.len());
        to.push(VERSION);
        to.extend_from_slice(self.id.bytes());
        self.secret.encrypt(&context.bytes(), value, to);
    }
}

impl<'a> EncryptedValue<'a> {
    /// None for bytes of another format.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (id, encrypted) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
        Some(Self { key: KeyId(*id), encrypted })
    }

    /// None if this key has not encrypted it in this context.
    pub(super) fn decrypt(self, key: &UserKey, context: &ValueContext<'_>) -> Option<Vec<u8>> {
        key.secret.decrypt(&context.bytes(), self.encrypted)
    }
}
