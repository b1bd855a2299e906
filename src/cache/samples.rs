//! The mailbox from requests to the staleness check: which served document to compare next.

use std::sync::Arc;

use super::counters::Counters;
use crate::{
    model::{Snapshot, UserDataQuery},
    sync::Mutex,
};

/// Holds one document at most: the check compares one at a time.
#[derive(Debug)]
pub(crate) struct Samples {
    share: f64,
    next: Mutex<Option<(UserDataQuery, Snapshot)>>,
    counters: Arc<Counters>,
}

impl Samples {
    /// `share` of the hits are offered; 0 switches the check off.
    pub(super) fn new(share: f64, counters: Arc<Counters>) -> Self {
        Self { share, next: Mutex::default(), counters }
    }

    /// Whether this hit is one of the share. False while no change could be noticed: a document may then be as old as
    /// its TTL allows.
    pub(super) fn draw(&self) -> bool {
        // Order: the draw first, because it decides most hits.
        self.share > 0.0 && rand::random::<f64>() < self.share && self.counters.changes.is_active()
    }

    /// Drops the document if another one waits.
    pub(super) fn offer(&self, query: &UserDataQuery, snapshot: &Snapshot) {
        match self.next.try_lock() {
            Some(mut next) if next.is_none() => *next = Some((query.clone(), snapshot.clone())),
            _ => self.counters.staleness.skipped.add(1),
        }
    }

    pub(crate) fn take(&self) -> Option<(UserDataQuery, Snapshot)> {
        self.next.lock().take()
    }
}
