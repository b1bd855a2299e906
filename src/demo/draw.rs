//! Random numbers that are the same on each machine: one stream per user, and integer arithmetic only.
//!
//! `rand`'s own ranges are not used, because any minor version may change them.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use sha2::{Digest, Sha256};

/// One user's stream of numbers.
#[derive(Debug)]
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// Depends only on the seed and the user, so that a further user changes no other.
    pub(super) fn new(seed: u64, user: &str) -> Self {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(user).finalize();
        Self(ChaCha8Rng::from_seed(digest.into()))
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i32, high: i32) -> i32 {
        // Multiply and shift: the bias is below one in a million here.
        let width = u64::from(high.abs_diff(low)) + 1;
        let offset = (u64::from(self.0.next_u32()) * width) >> 32;
        low.saturating_add(i32::try_from(offset).unwrap_or(i32::MAX))
    }

    pub(super) fn count(&mut self, low: i32, high: i32) -> usize {
        usize::try_from(self.between(low, high)).unwrap_or_default()
    }

    /// One of these, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let last = i32::try_from(from.len().saturating_sub(1)).unwrap_or(i32::MAX);
        from[self.count(0, last)]
    }

    /// `count` different elements, or all if there are fewer, in the order drawn.
    pub(super) fn some<T: Copy>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut left = from.to_vec();
        let mut drawn = Vec::with_capacity(count.min(left.len()));
        while drawn.len() < count && !left.is_empty() {
            let last = i32::try_from(left.len() - 1).unwrap_or(i32::MAX);
            drawn.push(left.remove(self.count(0, last)));
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_same_everywhere_and_the_users_own() {
        let numbers = |seed, user: &str| {
            let mut draw = Draw::new(seed, user);
            (0..5).map(|_| draw.between(0, 999)).collect::<Vec<_>>()
        };
        // Pinned: another value means that all demo data differ from now on.
        assert_eq!(numbers(42, "1"), PINNED);
        assert_ne!(numbers(42, "2"), PINNED);
        assert_ne!(numbers(43, "1"), PINNED);
    }

    const PINNED: [i32; 5] = [958, 771, 364, 32, 876];

    #[test]
    fn bounds_are_included_and_picks_differ() {
        let mut draw = Draw::new(1, "x");
        let drawn: std::collections::BTreeSet<i32> = (0..200).map(|_| draw.between(-2, 3)).collect();
        assert_eq!(drawn, (-2..=3).collect());
        let mut some = draw.some(&[1, 2, 3, 4, 5], 4);
        assert_eq!(some.len(), 4);
        some.sort_unstable();
        some.dedup();
        assert_eq!(some.len(), 4);
        assert_eq!(draw.some(&[1, 2], 9).len(), 2);
    }
}
