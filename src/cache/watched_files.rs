//! Changes of users' files, where each user has a file: noticed by looking at the files of users who are being read.
//!
//! A document belongs to a log and to a state of the user's file; the epoch in it names both. So a document of another
//! state is outdated exactly as one of another log is, in every tier, in a shared load and in the outcome of another
//! instance's load.
//!
//! Decision: a change is no entry of the log. Each instance looks itself, and would append its own entry for the same
//! change, each of which outdates what was read after the one before.
//!
//! Invariant: a state counts as verified for `sources.file_poll` and the log's lease after the look that found it began.
//! A look that fails, hangs or is late ends that, as a lapsed lease does.

mod state;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

pub(super) use self::state::{FileState, log_epoch, unknown_epoch};
use super::{counters::Counter, invalidation_log::validity::LogValidity};
use crate::{
    clock::{Clock, Moment},
    config::Config,
    model::{Scope, SectionSet, UserHash, UserId},
    sync::{Mutex, RwLock},
    user_files::{Look, UserFileError, UserFiles},
};

/// Changes kept for prefetching; further ones are left to the next reader.
const CHANGED_MAX: usize = 4096;
/// Users without a file, as a share of all watched ones: requests for unknown users must not displace the others.
const ABSENT_SHARE: usize = 8;

#[derive(Debug)]
pub(crate) struct WatchedFiles {
    files: UserFiles,
    states: RwLock<HashMap<UserId, Arc<FileState>>>,
    changed: Mutex<Vec<Scope<UserHash>>>,
    records_changes: bool,
    life: Duration,
    unverified_max: Duration,
    /// For a look that a request waits for.
    look_max: Duration,
    unread_max: Duration,
    users_max: usize,
    counters: WatchCounters,
    clock: Clock,
}

#[derive(Debug, Default)]
struct WatchCounters {
    changes: Counter,
    failures: Counter,
    /// Failures of the latest round.
    failing: AtomicU64,
}

/// For metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FileLevels {
    /// Watched now.
    pub(super) users: usize,
    /// Copies, and their bytes.
    pub(super) copies: usize,
    pub(super) bytes: u64,
    /// Since the start.
    pub(super) changes: i64,
    pub(super) failures: i64,
}

impl WatchedFiles {
    pub(super) fn new(files: UserFiles, config: &Config, clock: Clock) -> Self {
        Self {
            files,
            states: RwLock::default(),
            changed: Mutex::default(),
            records_changes: config.prefetch.enabled,
            life: config.sources.file_poll + config.invalidation_log.lease,
            unverified_max: config.invalidation_log.unverified_max,
            look_max: config.invalidation_log.renew_timeout,
            // Memory holds no document for longer without a request that looks again.
            unread_max: config.memory.ttl,
            users_max: config.sources.files_watched_max,
            counters: WatchCounters::default(),
            clock,
        }
    }

    /// The last known state of a user's file, for a request or a load.
    pub(super) fn state(&self, user: &UserId) -> Option<Arc<FileState>> {
        let state = Arc::clone(self.states.read().get(user)?);
        state.read(self.clock.now());
        Some(state)
    }

    /// How far a state is known now.
    pub(super) fn validity(&self, state: &FileState) -> LogValidity {
        state.validity_at(self.clock.now(), self.life, self.unverified_max)
    }

    /// How far the state of a user's file is known, after a look unless the last one is recent.
    pub(super) async fn renewed_validity(&self, user: &UserId) -> LogValidity {
        match self.state(user) {
            Some(state) if state.is_recent(self.clock.now(), self.life) => self.validity(&state),
            _ => self.look(user).await,
        }
    }

    /// The same, after a look in any case.
    pub(super) async fn look(&self, user: &UserId) -> LogValidity {
        let state = match tokio::time::timeout(self.look_max, self.files.look(user)).await {
            Ok(Ok(look)) => Some(self.learn(user, &look)),
            Ok(Err(error)) => {
                self.failed(&error);
                self.state(user)
            }
            Err(_elapsed) => {
                self.failed(&UserFileError::Busy);
                self.state(user)
            }
        };
        state.map_or(LogValidity::Expired, |state| self.validity(&state))
    }

    /// Takes note of a look, and returns the state that it found. From now on the user's file is watched.
    pub(super) fn learn(&self, user: &UserId, look: &Look) -> Arc<FileState> {
        if let Some(state) = self.update(user, look) {
            return state;
        }
        let mut states = self.states.write();
        if states.len() >= self.users_max {
            forget_some(&mut states);
        }
        let state = Arc::new(FileState::new(look, self.clock.now()));
        Arc::clone(states.entry(user.clone()).or_insert(state))
    }

    /// The same, for a user who is watched already.
    fn update(&self, user: &UserId, look: &Look) -> Option<Arc<FileState>> {
        let known = Arc::clone(self.states.read().get(user)?);
        if known.is_of(look) {
            known.confirm(look);
            return Some(known);
        }
        let mut states = self.states.write();
        let known = Arc::clone(states.get(user)?);
        if known.is_of(look) {
            known.confirm(look);
            return Some(known);
        }
        let state = Arc::new(known.followed_by(look));
        // Of two looks the one that began later counts. The caller of the other one gets its state all the same.
        if look.at > known.looked_at() {
            states.insert(user.clone(), Arc::clone(&state));
            drop(states);
            self.has_changed(user);
        }
        Some(state)
    }

    fn has_changed(&self, user: &UserId) {
        self.counters.changes.add(1);
        if self.records_changes {
            let mut changed = self.changed.lock();
            if changed.len() < CHANGED_MAX {
                changed.push(Scope { user: UserHash::of(user), strategy: None, sections: SectionSet::ALL });
            }
        }
    }

    /// The users whose files have changed since the last call.
    pub(super) fn take_changed(&self) -> Vec<Scope<UserHash>> {
        std::mem::take(&mut self.changed.lock())
    }

    /// Looks at all watched files, and closes copies that are not used any more.
    pub(crate) async fn poll(self: &Arc<Self>) {
        let users = self.still_read();
        let this = Arc::clone(self);
        let round = move || {
            let mut failing = 0;
            for user in users {
                match this.files.look_blocking(&user) {
                    Ok(look) => drop(this.update(&user, &look)),
                    Err(error) => {
                        failing += 1;
                        this.failed_in_round(failing, &error);
                    }
                }
            }
            this.counters.failing.store(failing, Relaxed);
            this.files.close_idle();
        };
        // A panic is a bug that the next round repeats; documents are unverified then.
        let _ = tokio::task::spawn_blocking(round).await;
    }

    /// The watched users, without those whom no request has read for a while.
    fn still_read(&self) -> Vec<UserId> {
        let now = self.clock.now();
        let mut states = self.states.write();
        states.retain(|_, state| now < state.read_at().after(self.unread_max));
        states.keys().cloned().collect()
    }

    /// Logs the first failure after a round without.
    fn failed_in_round(&self, failing: u64, error: &UserFileError) {
        self.counters.failures.add(1);
        if failing == 1 && self.counters.failing.load(Relaxed) == 0 {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "a user's file cannot be looked at; its documents are unverified until it can");
        }
    }

    fn failed(&self, error: &UserFileError) {
        self.counters.failures.add(1);
        tracing::debug!(%error, "a user's file cannot be looked at; the next request tries again");
    }

    pub(super) fn levels(&self) -> FileLevels {
        let (copies, bytes) = self.files.copies();
        FileLevels {
            users: self.states.read().len(),
            copies,
            bytes,
            changes: self.counters.changes.get(),
            failures: self.counters.failures.get(),
        }
    }
}

/// Drops users without a file if there are many, or else the quarter that was not read for longest. Their next reader
/// looks again.
fn forget_some(states: &mut HashMap<UserId, Arc<FileState>>) {
    let before = states.len();
    if states.values().filter(|state| state.is_absent()).count() >= before.div_ceil(ABSENT_SHARE) {
        states.retain(|_, state| !state.is_absent());
        return;
    }
    let mut times: Vec<Moment> = states.values().map(|state| state.read_at()).collect();
    let quarter = times.len() / 4;
    let oldest = *times.select_nth_unstable(quarter).1;
    states.retain(|_, state| state.read_at() > oldest);
}

#[cfg(test)]
mod tests;
