//! One state of a user's file, and how long ago it was seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    cache::invalidation_log::validity::LogValidity,
    clock::Moment,
    model::FileFingerprint,
    sync::Mutex,
    user_files::{FileSystem, Look},
};

/// Between the log's epoch and the file's state.
const SEPARATOR: char = '/';

/// A state of a user's file. Until the file changes, all looks find the same one.
#[derive(Debug)]
pub(in crate::cache) struct FileState {
    fingerprint: FileFingerprint,
    file_system: FileSystem,
    is_absent: bool,
    /// When the last look that found it began.
    looked_at: AtomicU64,
    /// When the user was last read.
    read_at: AtomicU64,
    /// The last log's epoch, and the epoch of that log and this state.
    epoch: Mutex<Option<(Arc<str>, Arc<str>)>>,
}

impl FileState {
    pub(super) fn new(look: &Look, read_at: Moment) -> Self {
        Self {
            fingerprint: look.fingerprint,
            file_system: look.file_system,
            is_absent: look.is_absent(),
            looked_at: AtomicU64::new(look.at.nanos()),
            read_at: AtomicU64::new(read_at.nanos()),
            epoch: Mutex::new(None),
        }
    }

    pub(super) fn followed_by(&self, look: &Look) -> Self {
        Self::new(look, self.read_at())
    }

    pub(super) fn is_of(&self, look: &Look) -> bool {
        self.fingerprint == look.fingerprint
    }

    pub(super) fn is_absent(&self) -> bool {
        self.is_absent
    }

    pub(super) fn confirm(&self, look: &Look) {
        self.looked_at.fetch_max(look.at.nanos(), Relaxed);
    }

    pub(super) fn looked_at(&self) -> Moment {
        Moment::from_nanos(self.looked_at.load(Relaxed))
    }

    pub(super) fn read(&self, now: Moment) {
        self.read_at.fetch_max(now.nanos(), Relaxed);
    }

    pub(super) fn read_at(&self) -> Moment {
        Moment::from_nanos(self.read_at.load(Relaxed))
    }

    pub(super) fn is_recent(&self, now: Moment, life: Duration) -> bool {
        now < self.looked_at().after(life)
    }

    /// As the log's lease: verified for `life`, then served with a flag for `unverified_max`. A network file system may
    /// hide a change for longer than any poll, so nothing on it is verified.
    pub(super) fn validity_at(&self, now: Moment, life: Duration, unverified_max: Duration) -> LogValidity {
        if self.is_recent(now, life) && self.file_system != FileSystem::Network {
            LogValidity::Verified
        } else if self.is_recent(now, life + unverified_max) {
            LogValidity::Unverified
        } else {
            LogValidity::Expired
        }
    }

    /// The epoch of documents that are read from this state, in a log of the epoch `log`.
    pub(in crate::cache) fn epoch(&self, log: &Arc<str>) -> Arc<str> {
        let mut epoch = self.epoch.lock();
        match &*epoch {
            Some((of, epoch)) if of == log => Arc::clone(epoch),
            _ => {
                let made = joined(log, &hex::encode(self.fingerprint.bytes()));
                *epoch = Some((Arc::clone(log), Arc::clone(&made)));
                made
            }
        }
    }
}

/// The epoch of no document: the state of the file is not known.
pub(in crate::cache) fn unknown_epoch(log: &str) -> Arc<str> {
    joined(log, "?")
}

/// The log's part of an epoch.
pub(in crate::cache) fn log_epoch(epoch: &Arc<str>) -> Arc<str> {
    epoch.split_once(SEPARATOR).map_or_else(|| Arc::clone(epoch), |(log, _)| log.into())
}

/// A log that was never read has no epoch, and no document belongs to it.
fn joined(log: &str, state: &str) -> Arc<str> {
    if log.is_empty() { log.into() } else { format!("{log}{SEPARATOR}{state}").into() }
}
