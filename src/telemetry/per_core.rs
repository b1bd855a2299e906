//! Counts that every request touches, once per core: cores that write to the same line of memory wait for each other.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread::available_parallelism,
};

/// More cores share. A histogram has some 16 KB per part.
const PARTS_MAX: usize = 16;

/// A value in several parts. Each thread writes to one, and readers add all up.
#[derive(Debug)]
pub struct PerCore<T>(Box<[CacheLine<T>]>);

/// Two lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CacheLine<T>(T);

impl<T> PerCore<T> {
    /// Parts that `make` gives.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        let parts = available_parallelism().map_or(1, usize::from).next_power_of_two().min(PARTS_MAX);
        Self((0..parts).map(|_| CacheLine(make())).collect())
    }

    /// The part of this thread.
    pub fn mine(&self) -> &T {
        // A power of two.
        &self.0[thread_number() & (self.0.len() - 1)].0
    }

    /// All parts.
    pub fn parts(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|part| &part.0)
    }
}

impl<T: Default> Default for PerCore<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

/// Threads are numbered as they come: a runtime's workers begin one after the other.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Relaxed);
            number.set(Some(new));
            new
        })
    })
}
