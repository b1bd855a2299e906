//! What the memory tier holds for a key.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{clock::Moment, error::Missing, model::Snapshot};

/// An entry for an unknown user: its key, with a user id of at most 255 bytes, and its slot in the engine.
const NOT_FOUND_BYTES: u32 = 512;

#[derive(Clone, Debug)]
pub struct MemoryEntry {
    pub value: MemoryValue,
    /// When it expires.
    pub until: Moment,
    /// When a hit starts to check whether it is due for refresh-ahead.
    pub refresh_ahead_from: Moment,
    /// Of a prefetched document.
    pub unread: Option<Unread>,
}

#[derive(Clone, Debug)]
pub enum MemoryValue {
    Snapshot(Snapshot),
    /// The sources know no such user or strategy.
    NotFound {
        what: Missing,
        /// The log epoch of the read position.
        epoch: Arc<str>,
        /// The log's position before the sources were read.
        read_position: i64,
    },
}

/// Whether a prefetched document still waits for its first reader. Clones share it.
#[derive(Clone, Debug)]
pub struct Unread(Arc<AtomicBool>);

impl Default for Unread {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Unread {
    /// Returns true for the first reader.
    #[must_use]
    pub fn ends(&self) -> bool {
        // Nearly every hit is a later one, and only loads.
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

impl MemoryEntry {
    pub(super) fn weight(&self) -> u32 {
        match &self.value {
            MemoryValue::Snapshot(snapshot) => u32::try_from(snapshot.weight()).unwrap_or(u32::MAX),
            MemoryValue::NotFound { .. } => NOT_FOUND_BYTES,
        }
    }

    /// Of two snapshots of one epoch, the one that was read further on in the log is newer, and of two read at one position
    /// the later assembled one. Otherwise the last write wins.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (MemoryValue::Snapshot(ours), MemoryValue::Snapshot(theirs)) => {
                ours.epoch == theirs.epoch && ours.order() > theirs.order()
            }
            _ => false,
        }
    }
}
