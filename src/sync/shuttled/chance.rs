//! Chance that a replayed schedule repeats: Shuttle's generator.

use shuttle::rand::{Rng, thread_rng};

/// As `rand::random`, for the numbers that are asked for here.
#[must_use]
pub fn random<T: Drawn>() -> T {
    T::drawn()
}

/// True once in `times`; never for 0.
#[must_use]
pub fn once_in(times: u64) -> bool {
    times > 0 && thread_rng().gen_range(0..times) == 0
}

/// One of the numbers below `end`.
#[must_use]
pub fn below(end: u64) -> u64 {
    thread_rng().gen_range(0..end)
}

/// What can be drawn.
pub trait Drawn {
    /// A new one.
    fn drawn() -> Self;
}

impl Drawn for i64 {
    fn drawn() -> Self {
        thread_rng().r#gen()
    }
}

impl Drawn for f64 {
    fn drawn() -> Self {
        thread_rng().r#gen()
    }
}
