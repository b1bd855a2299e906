//! The invalidation log: decides whether cached data is outdated.
//!
//! The database holds one row per invalidation, at gapless positions ([`table`]). Every section of a snapshot records
//! its read position: the log position that was known before its sources were read. A section is outdated if an
//! invalidation of it has a higher position. Each instance judges by a local copy of the log ([`local_copy`]), which is
//! valid for the length of a lease after each reading. docs/coherence.md shows why this suffices, whatever Redis,
//! memory and late writers do.
//!
//! The log has an epoch. A database that has lost commits gives positions a second time, so it starts a new epoch, and
//! nothing read in an earlier epoch is served.
//!
//! Order: the lease counts from before the reading was sent, and is renewed only after its rows are applied.

mod adoption;
mod appending;
mod committer;
pub(crate) mod consumption;
#[cfg(not(feature = "shuttle"))]
mod consumption_table;
mod epoch;
mod erasures;
mod error;
#[cfg(feature = "shuttle")]
mod in_memory;
mod local_copy;
mod other_log;
mod pools;
mod positions;
mod reading;
mod recent;
mod row;
mod scopes;
#[cfg(not(feature = "shuttle"))]
mod table;
pub(super) mod validity;
pub(super) mod witness;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::{Mutex, watch};

use committer::Committer;
use epoch::LaterEpoch;
use erasures::RecentErasures;
pub use error::InvalidationLogError;
#[cfg(feature = "shuttle")]
use in_memory as table;
use local_copy::LocalCopy;
pub use local_copy::LogView;
use other_log::OtherLog;
pub use pools::LogPools;
use table::LogTable;
pub use validity::LogValidity;
use witness::RedisWitness;

use super::{
    change_feed::{ChangeFeed, rounds::Rounds},
    counters::Counter,
    watched_files::WatchedFiles,
};
#[cfg(feature = "shuttle")]
use crate::database::in_memory::MemoryDatabase;
use crate::{
    clock::{Clock, Moment},
    config,
    fault::FaultPoint,
    model::{CacheKey, Scope, Token, UserHash},
    mutant::{self, Mutant},
    privacy::UserKeys,
    proto::v1::InvalidationLogStats,
    sync::{
        self, RwLock, TaskTracker,
        atomic::{AtomicBool, AtomicU64, Ordering},
        time::{sleep, timeout},
    },
};

/// Log entries outlive every document by this margin.
pub(crate) const RETENTION_MARGIN: Duration = Duration::from_secs(3600);

/// The log and its local copy.
#[derive(Debug)]
pub struct InvalidationLog {
    table: LogTable,
    committer: Committer,
    /// After a panic while rows are applied, the copy is whole all the same: `applied` is set last.
    copy: RwLock<LocalCopy>,
    /// Nanoseconds on the boot-time clock; 0 before the first complete reading.
    lease_until: AtomicU64,
    last_catch_up: Mutex<LastCatchUp>,
    tickets: AtomicU64,
    /// The head that was read last is above what is applied here.
    behind: AtomicBool,
    started_at: Moment,
    /// When the last reading failed; 0 after a success.
    failed_at: AtomicU64,
    notifications: Counter,
    gaps: Counter,
    commits: Counter,
    later_epoch: sync::Mutex<Option<LaterEpoch>>,
    erasures: sync::Mutex<RecentErasures>,
    other_log: sync::Mutex<OtherLog>,
    lease_conflict: watch::Sender<Option<InvalidationLogError>>,
    /// Where each user has a file.
    files: OnceLock<Arc<WatchedFiles>>,
    /// Where changes make themselves known.
    feed: OnceLock<Arc<ChangeFeed>>,
    /// What shows that the database has lost commits. None: no Redis.
    witness: OnceLock<RedisWitness>,
    config: config::InvalidationLogSettings,
    timeout: Duration,
    clock: Clock,
}

/// The latest reading of the log. Its result also answers every caller whose ticket is not higher.
#[derive(Debug)]
struct LastCatchUp {
    ticket: u64,
    result: Result<(), InvalidationLogError>,
}

/// An invalidation that is durable and applied here.
#[derive(Clone, Debug)]
pub struct Appended {
    pub token: Token,
    committed_at: Moment,
}

impl InvalidationLog {
    /// Nothing cached is valid before the first [`InvalidationLog::catch_up`]. `timeout` bounds the reading of one page of
    /// the log.
    #[must_use]
    pub fn new(
        pools: LogPools,
        config: config::InvalidationLogSettings,
        timeout: Duration,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> Self {
        Self::of(LogTable::new(pools), config, timeout, clock, tasks)
    }

    /// As [`Self::new`], with the log in memory.
    #[cfg(feature = "shuttle")]
    #[must_use]
    pub fn over(
        log: MemoryDatabase,
        config: config::InvalidationLogSettings,
        timeout: Duration,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> Self {
        Self::of(LogTable::of(log), config, timeout, clock, tasks)
    }

    fn of(
        table: LogTable,
        config: config::InvalidationLogSettings,
        timeout: Duration,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> Self {
        Self {
            committer: Committer::start(table.clone(), tasks),
            table,
            copy: RwLock::new(LocalCopy::empty()),
            lease_until: AtomicU64::new(0),
            last_catch_up: Mutex::new(LastCatchUp { ticket: 0, result: Ok(()) }),
            tickets: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            started_at: clock.now(),
            failed_at: AtomicU64::new(0),
            notifications: Counter::default(),
            gaps: Counter::default(),
            commits: Counter::default(),
            later_epoch: sync::Mutex::default(),
            erasures: sync::Mutex::default(),
            other_log: sync::Mutex::default(),
            lease_conflict: watch::Sender::new(None),
            files: OnceLock::new(),
            feed: OnceLock::new(),
            witness: OnceLock::new(),
            config,
            timeout,
            clock,
        }
    }

    /// The invalidations of one key that are applied at this moment.
    #[must_use]
    pub fn view(&self, key: &CacheKey) -> LogView {
        let view = self.copy.read().view(key);
        match self.files.get() {
            None => view,
            Some(files) => view.of_user(files, &key.user),
        }
    }

    /// From now on documents also belong to the state of their user's file.
    pub(super) fn watch(&self, files: Arc<WatchedFiles>) {
        // Called once, when the cache is made.
        let _ = self.files.set(files);
    }

    /// From now on verified also means that the changes of the sources are known.
    pub(super) fn follow(&self, feed: Arc<ChangeFeed>) {
        // Called once, when the cache is made.
        let _ = self.feed.set(feed);
    }

    /// From now on drops the keys of users whom any instance erases.
    pub(super) fn drop_keys_of_erased(&self, keys: Arc<UserKeys>) {
        self.erasures.lock().drop_keys_from(keys);
    }

    /// The rounds of the change feed, in the log's database. None in SQLite.
    pub(crate) fn rounds(&self) -> Option<Rounds> {
        self.table.rounds()
    }

    /// From now on keeps the scopes that are invalidated, not the entries of everyone, for [`Self::take_recorded_scopes`].
    pub fn record_scopes(&self) {
        self.copy.write().record_scopes();
    }

    /// The scopes that any instance has invalidated since the last call, or since [`Self::record_scopes`].
    #[must_use]
    pub fn take_recorded_scopes(&self) -> Vec<Scope<UserHash>> {
        let changed = self.files.get().map(|files| files.take_changed()).unwrap_or_default();
        self.copy.write().take_recorded_scopes().into_iter().chain(changed).collect()
    }

    /// How far the log and the changes of the sources are known.
    #[must_use]
    pub fn validity(&self) -> LogValidity {
        // Order: read the lease first. A lease renewed after the clock was read would look longer than it is.
        let until = self.lease_until.load(Ordering::Acquire);
        let now = self.clock.now();
        self.with_changes(self.validity_until(until, now), now)
    }

    /// As [`InvalidationLog::validity`], for a caller that has just read the clock.
    #[must_use]
    pub fn validity_at(&self, now: Moment) -> LogValidity {
        self.with_changes(self.validity_until(self.lease_until.load(Ordering::Acquire), now), now)
    }

    /// How far the log alone is known.
    #[must_use]
    pub fn lease_validity(&self) -> LogValidity {
        let until = self.lease_until.load(Ordering::Acquire);
        self.validity_until(until, self.clock.now())
    }

    fn with_changes(&self, validity: LogValidity, now: Moment) -> LogValidity {
        match self.feed.get() {
            Some(feed) if !feed.holds_at(now) => validity.max(LogValidity::Unverified),
            _ => validity,
        }
    }

    fn validity_until(&self, until: u64, now: Moment) -> LogValidity {
        if until == 0 {
            return LogValidity::Expired;
        }
        let until = Moment::from_nanos(until);
        if now < until || mutant::on(Mutant::NoLease) {
            LogValidity::Verified
        } else if now < until.after(self.config.unverified_max) {
            LogValidity::Unverified
        } else {
            LogValidity::Expired
        }
    }

    /// The position up to which this instance has applied the log.
    #[must_use]
    pub fn position(&self) -> Token {
        let copy = self.copy.read();
        Token { epoch: copy.epoch.clone(), position: copy.applied }
    }

    /// As [`InvalidationLog::validity`], but tries for `renew_timeout` to renew what has lapsed.
    pub async fn renewed_validity(&self) -> LogValidity {
        let is_feed_lost = || {
            let now = self.clock.now();
            let lost_at = self.feed.get().and_then(|feed| feed.lost_at(now));
            lost_at.is_some_and(|lost_at| now > lost_at.after(2 * self.config.poll))
        };
        match self.validity() {
            LogValidity::Verified => LogValidity::Verified,
            lapsed if is_feed_lost() || !self.renews_lease().await => lapsed,
            _ => self.with_changes(LogValidity::Verified, self.clock.now()),
        }
    }

    /// As [`InvalidationLog::lease_validity`], but tries for `renew_timeout` to renew the lease if it has lapsed.
    pub async fn renewed_lease_validity(&self) -> LogValidity {
        match self.lease_validity() {
            LogValidity::Verified => LogValidity::Verified,
            lapsed if !self.renews_lease().await => lapsed,
            _ => LogValidity::Verified,
        }
    }

    /// Whether the log can be read now. After a recent failure it does not try: the periodic reading goes on, and requests
    /// need not wait for it.
    async fn renews_lease(&self) -> bool {
        let failed_at = Moment::from_nanos(self.failed_at.load(Ordering::Relaxed));
        let has_failed = self.clock.now() < failed_at.after(2 * self.config.poll + self.timeout);
        !has_failed && matches!(timeout(self.config.renew_timeout, self.catch_up()).await, Ok(Ok(())))
    }

    /// Resolves when a reading finds that the cluster agreed on a shorter lease: this instance must then stop.
    pub async fn lease_conflict(&self) -> InvalidationLogError {
        let mut conflict = self.lease_conflict.subscribe();
        match conflict.wait_for(Option::is_some).await {
            Ok(conflict) => conflict.clone().unwrap_or(InvalidationLogError::Closed),
            // Impossible while `self`, which owns the sender, exists.
            Err(_) => InvalidationLogError::Closed,
        }
    }

    /// Applies the log up to its head at the time of this call, or later.
    ///
    /// Concurrent callers share one reading. A caller never shares a reading that was sent before its call, because
    /// that reading may lack an invalidation that the caller knows of.
    pub async fn catch_up(&self) -> Result<(), InvalidationLogError> {
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        let mut last = self.last_catch_up.lock().await;
        if last.ticket >= ticket {
            return last.result.clone();
        }
        let newest = self.tickets.load(Ordering::Acquire);
        let result = self.read_log().await;
        let newest = if mutant::on(Mutant::SharesASentCatchUp) { self.tickets.load(Ordering::Acquire) } else { newest };
        let failed_at = if result.is_ok() { 0 } else { self.clock.now().nanos() };
        self.failed_at.store(failed_at, Ordering::Relaxed);
        *last = LastCatchUp { ticket: newest, result: result.clone() };
        result
    }

    /// Catches up if another instance's position is higher than this one's, or belongs to another epoch.
    pub async fn catch_up_if_behind(&self, positions: impl Iterator<Item = Token>) -> Result<(), InvalidationLogError> {
        let ours = self.position();
        let ahead: Vec<Token> = positions.filter(|of| of.epoch != ours.epoch || of.position > ours.position).collect();
        if ahead.is_empty() {
            return Ok(());
        }
        self.notifications.add(ahead.len() as u64);
        self.catch_up().await?;
        let epoch = self.position().epoch;
        if let Some(other) = ahead.iter().find(|of| of.epoch != epoch)
            && self.other_log.lock().is_named(&other.epoch, self.clock.now())
        {
            tracing::error!(
                ours = %epoch,
                other = %other.epoch,
                "instances on another database use this Redis prefix; give each deployment its own redis.prefix, and all \
                 instances of one the same database.url"
            );
        }
        Ok(())
    }

    /// Waits until every lease that began before a commit has lapsed: until no instance can give an older answer as
    /// verified.
    pub async fn wait_for_all(&self, appended: &Appended) {
        // One percent more than the lease: the clocks of two machines may run at slightly different speeds.
        let until = appended.committed_at.after(self.config.lease.mul_f64(1.01));
        sleep(until.since(self.clock.now())).await;
    }

    /// Deletes rows older than any snapshot. Returns how many.
    pub async fn trim(&self, older_than: Duration) -> Result<u64, InvalidationLogError> {
        let seconds = i64::try_from(older_than.as_secs()).unwrap_or(i64::MAX);
        Ok(self.table.faults.through(FaultPoint::Append, self.table.trim(seconds)).await?)
    }

    #[must_use]
    pub fn stats(&self) -> InvalidationLogStats {
        InvalidationLogStats {
            applied: self.copy.read().applied,
            lease_remaining: Some(self.lease_remaining().into()),
            notifications: self.notifications.get(),
            gaps: self.gaps.get(),
            commits: self.commits.get(),
            lag: Some(self.lag().into()),
        }
    }

    /// How long ago the log was last read up to its head; before the first time, how long this instance exists.
    #[must_use]
    pub fn lag(&self) -> Duration {
        let until = self.lease_until.load(Ordering::Acquire);
        match until {
            0 => self.clock.now().since(self.started_at),
            until => self.clock.now().after(self.config.lease).since(Moment::from_nanos(until)),
        }
    }

    /// How long this instance still knows all invalidations.
    #[must_use]
    pub fn lease_remaining(&self) -> Duration {
        Moment::from_nanos(self.lease_until.load(Ordering::Acquire)).since(self.clock.now())
    }

    /// Whether the log answers, but is not applied up to its head: an instance that starts on a long log.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
