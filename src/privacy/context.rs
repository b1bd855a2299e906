//! Where an encrypted value stands. It is a part of the encryption (associated data): a value that is moved to another
//! user, key or table cannot be decrypted there.

use crate::model::UserId;

/// The place of a value.
#[derive(Clone, Copy, Debug)]
pub struct ValueContext<'a> {
    /// Which table or tier, and which form the value has there.
    pub place: &'static str,
    pub user: &'a UserId,
    /// What names the value there, beside its user.
    pub key: &'a [u8],
    /// What stands in clear beside the value, and must belong to it.
    pub clear: &'a [u8],
}

impl ValueContext<'_> {
    /// Each part with its length before it, so that no two contexts have the same bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let parts = [self.place.as_bytes(), self.user.as_str().as_bytes(), self.key, self.clear];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_places_are_the_same() {
        let (one, other) = (UserId::parse("1").unwrap(), UserId::parse("12").unwrap());
        let contexts = [
            ("row", &one, &b"23"[..], &b""[..]),
            ("row", &one, b"2", b"3"),
            ("row", &other, b"3", b""),
            ("ro", &one, b"23", b""),
        ];
        let bytes: BTreeSet<_> = contexts
            .into_iter()
            .map(|(place, user, key, clear)| ValueContext { place, user, key, clear }.bytes())
            .collect();
        assert_eq!(bytes.len(), contexts.len());
    }
}
