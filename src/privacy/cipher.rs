//! Authenticated encryption of one value: AES-256-GCM.
//!
//! | bytes | |
//! |---|---|
//! | 0..16 | salt, random |
//! | 16..28 | nonce, random |
//! | 28.. | the encrypted value, then its tag of 16 bytes |
//!
//! Each value has a key of its own, derived from the given one and the salt by HKDF-SHA256 (RFC 5869). So no number of
//! values wears a key out. Rejected: the given key itself, for which random nonces would allow 2^32 values (NIST SP
//! 800-38D, 8.3), to be counted over all instances.
//!
//! [`SecretKey`] is overwritten when it is dropped. What ring derives from it is not: it stands on the stack during the
//! call, until the stack is used again.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

pub(super) const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// What encryption adds to a value.
pub(super) const CIPHER_OVERHEAD: usize = SALT_BYTES + NONCE_LEN + TAG_BYTES;
/// Changes with the format.
const INFO: &[u8] = b"userdata encrypted value 1";

/// 256 secret bits.
pub(super) struct SecretKey(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl SecretKey {
    pub(super) fn random() -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill(key.as_mut());
        Self(key)
    }

    /// None if there are not exactly [`KEY_BYTES`].
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Appends the encrypted value to `to`. Only the same context decrypts it.
    pub(super) fn encrypt(&self, context: &[u8], value: &[u8], to: &mut Vec<u8>) {
        let mut random = [0; SALT_BYTES + NONCE_LEN];
        fill(&mut random);
        let (salt, nonce) = random.split_at(SALT_BYTES);
        to.reserve(CIPHER_OVERHEAD + value.len());
        to.extend_from_slice(&random);
        let start = to.len();
        to.extend_from_slice(value);
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("it has the length of a nonce");
        let tag = self
            .key_of_value(salt)
            .seal_in_place_separate_tag(nonce, Aad::from(context), &mut to[start..])
            .expect("no value reaches the 64 GiB of the algorithm");
        to.extend_from_slice(tag.as_ref());
    }

    /// None for anything that this key has not encrypted in this context.
    pub(super) fn decrypt(&self, context: &[u8], encrypted: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = encrypted.split_at_checked(SALT_BYTES)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut value = rest.to_vec();
        let length = self.key_of_value(salt).open_in_place(nonce, Aad::from(context), &mut value).ok()?.len();
        value.truncate(length);
        Some(value)
    }

    fn key_of_value(&self, salt: &[u8]) -> LessSafeKey {
        let derived = Salt::new(HKDF_SHA256, salt).extract(self.bytes());
        let key = derived.expand(&[INFO], &AES_256_GCM).expect("a key is shorter than what HKDF gives");
        LessSafeKey::new(key.into())
    }
}

/// Cryptographically secure.
pub(super) fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(key: &SecretKey, context: &[u8], value: &[u8]) -> Vec<u8> {
        let mut encrypted = Vec::new();
        key.encrypt(context, value, &mut encrypted);
        encrypted
    }

    #[test]
    fn only_the_key_and_the_context_that_encrypted_a_value_decrypt_it() {
        let (key, other) = (SecretKey::random(), SecretKey::random());
        for value in [&b""[..], b"x", &[7; 5000]] {
            let encrypted = encrypted(&key, b"here", value);
            assert_eq!(encrypted.len(), value.len() + CIPHER_OVERHEAD);
            assert_eq!(key.decrypt(b"here", &encrypted).as_deref(), Some(value));
            assert_eq!(key.decrypt(b"there", &encrypted), None);
            assert_eq!(other.decrypt(b"here", &encrypted), None);
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let key = SecretKey::random();
        let encrypted = encrypted(&key, b"here", b"a document");
        for place in 0..encrypted.len() {
            let mut changed = encrypted.clone();
            changed[place] ^= 0x10;
            assert_eq!(key.decrypt(b"here", &changed), None, "byte {place}");
            assert_eq!(key.decrypt(b"here", &encrypted[..place]), None, "cut at {place}");
        }
    }

    #[test]
    fn the_same_value_is_never_encrypted_alike() {
        let key = SecretKey::random();
        let (one, two) = (encrypted(&key, b"", b"a document"), encrypted(&key, b"", b"a document"));
        assert_ne!(one[..SALT_BYTES], two[..SALT_BYTES]);
        assert_ne!(one[CIPHER_OVERHEAD - TAG_BYTES..], two[CIPHER_OVERHEAD - TAG_BYTES..]);
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", SecretKey::random()), "[redacted]");
    }
}
