//! What stands for a user where the id itself must not be kept.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::UserId;

/// SipHash-1-3 of the user's id. The same on all instances and in all versions. It does not tell the id, but a list of
/// ids can be tried.
///
/// Two users may have one hash. What is true of either then counts as true of both, so it serves only where that is safe:
/// where more counts as outdated or erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserHash(u64);

/// The first bytes of the SHA-256 of "userdata".
const KEY: [u8; 16] = [0x37, 0x42, 0x98, 0xce, 0x07, 0xe0, 0x02, 0x96, 0xd9, 0x9b, 0x3d, 0xb8, 0x86, 0x0b, 0x6e, 0xc7];

impl UserHash {
    #[must_use]
    pub fn of(user: &UserId) -> Self {
        let mut hasher = SipHasher13::new_with_key(&KEY);
        hasher.write(user.as_str().as_bytes());
        Self(hasher.finish())
    }

    /// As the column of a database holds it.
    #[must_use]
    pub fn from_column(column: i64) -> Self {
        Self(column.cast_unsigned())
    }

    #[must_use]
    pub fn column(self) -> i64 {
        self.0.cast_signed()
    }

    /// Bits that are as good as random.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_all_versions_agree_on_it() {
        for (user, column) in [("1", -7_824_532_212_434_378_481), ("user_33Gz1FPI86V", -8_164_720_820_607_074_927)] {
            let hash = UserHash::of(&UserId::parse(user).unwrap());
            assert_eq!(hash.column(), column, "{user}");
            assert_eq!(UserHash::from_column(column), hash);
        }
    }
}
