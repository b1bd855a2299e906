//! The fence: what makes sure that nothing outdated is served.
//!
//! A gapless, durable log holds one row per invalidation ([`log`]); every section of a snapshot is
//! tagged with the log's position known before its sources were read; each instance holds a copy of
//! the log ([`copy`]) that it trusts for the length of a lease. docs/coherence.md argues why that is
//! enough, whatever Redis, memory and late writers do.
//!
//! Order: a lease counts from before the read was sent, and is extended after the rows are applied.

mod committer;
mod local_copy;
mod table;

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use sea_orm::DbErr;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use committer::Committer;
use local_copy::LocalCopy;
pub use local_copy::LogView;
use table::LogTable;

use crate::{
    clock::{Clock, Moment},
    config,
    database::Pool,
    fault::Call,
    model::{CacheKey, Scope, Token},
    mutant::{self, Mutant},
    proto::v1::FenceStats,
    sync::{
        AsyncMutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// Why the log could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InvalidationLogError {
    /// The database did not answer in time.
    #[error("the invalidation log did not answer in time")]
    Timeout,
    /// It answered with an error.
    #[error("the invalidation log failed: {0}")]
    Database(String),
    /// Another lease length is agreed on in this cluster.
    #[error(
        "fence.lease is {ours_ms} ms, but the cluster agreed on {theirs_ms} ms: use that, or change invalidation_log_head.lease_ms while no instance runs"
    )]
    Lease {
        /// As configured here.
        ours_ms: i64,
        /// As stored.
        theirs_ms: i64,
    },
    /// The service is shutting down.
    #[error("shutting down")]
    Closed,
}

impl From<DbErr> for InvalidationLogError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.to_string())
    }
}

/// How far the local copy of the log may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogValidity {
    /// The lease holds.
    Verified,
    /// It has lapsed, but not for longer than cached answers may still be given.
    Unverified,
    /// It has lapsed for too long, or the log has never been read: nothing cached may be served.
    Expired,
}

/// The log and its local copy.
#[derive(Debug)]
pub struct InvalidationLog {
    log: LogTable,
    committer: Committer,
    copy: RwLock<LocalCopy>,
    /// Nanoseconds on the boot-time clock; 0 before the first complete catch-up.
    lease_until: AtomicU64,
    catching_up: AsyncMutex<LastRun>,
    tickets: AtomicU64,
    /// When the log could not be read, last; 0 after a success.
    failed_at: AtomicU64,
    notifications: AtomicU64,
    gaps: AtomicU64,
    commits: AtomicU64,
    /// That the cluster agreed on another lease, once that is known.
    lease_conflict: watch::Sender<Option<InvalidationLogError>>,
    config: config::Fence,
    timeout: Duration,
    clock: Clock,
}

/// The latest catch-up: whoever asked before its read was sent shares it.
#[derive(Debug)]
struct LastRun {
    ticket: u64,
    result: Result<(), InvalidationLogError>,
}

impl InvalidationLog {
    /// Knows nothing until the first [`InvalidationLog::catch_up`]. `timeout` bounds one reading of the log.
    #[must_use]
    pub fn new(pool: Pool, config: config::Fence, timeout: Duration, clock: Clock, tasks: &TaskTracker) -> Self {
        let log = LogTable::new(pool);
        Self {
            committer: Committer::start(log.clone(), tasks),
            log,
            copy: RwLock::new(LocalCopy::empty()),
            lease_until: AtomicU64::new(0),
            catching_up: AsyncMutex::new(LastRun { ticket: 0, result: Ok(()) }),
            tickets: AtomicU64::new(0),
            failed_at: AtomicU64::new(0),
            notifications: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            lease_conflict: watch::Sender::new(None),
            config,
            timeout,
            clock,
        }
    }

    /// What is known about one key's fences now.
    #[must_use]
    pub fn view(&self, key: &CacheKey) -> LogView {
        self.read().view(key)
    }

    /// Keeps what is fenced from now on, for [`Self::take_news`].
    pub fn record_scopes(&self) {
        self.write().record_scopes();
    }

    /// What has been fenced by whomever since the last call, or since [`Self::listen`].
    #[must_use]
    pub fn take_recorded_scopes(&self) -> Vec<Scope> {
        self.write().take_recorded_scopes()
    }

    /// Whether the copy may be trusted at this moment.
    #[must_use]
    pub fn validity(&self) -> LogValidity {
        // Order: the lease first. One renewed after the clock was read would only make it last longer.
        let until = self.lease_until.load(Ordering::Acquire);
        self.validity_until(until, self.clock.now())
    }

    /// As [`InvalidationLog::validity`], for whoever has just looked at the clock.
    #[must_use]
    pub fn validity_at(&self, now: Moment) -> LogValidity {
        self.validity_until(self.lease_until.load(Ordering::Acquire), now)
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

    /// The position up to which this instance applies the log.
    #[must_use]
    pub fn position(&self) -> Token {
        let copy = self.read();
        Token { epoch: copy.epoch.clone(), position: copy.applied }
    }

    /// As [`InvalidationLog::validity`], after trying for a short while to renew a lapsed lease, unless that has
    /// just failed: then the poll goes on trying, and requests need not wait for it.
    pub async fn renewed_validity(&self) -> LogValidity {
        let failed_at = Moment::from_nanos(self.failed_at.load(Ordering::Relaxed));
        match self.validity() {
            LogValidity::Verified => LogValidity::Verified,
            lapsed if self.clock.now() < failed_at.after(2 * self.config.poll + self.timeout) => lapsed,
            lapsed => match tokio::time::timeout(self.config.renew_timeout, self.catch_up()).await {
                Ok(Ok(())) => LogValidity::Verified,
                _ => lapsed,
            },
        }
    }

    /// Resolves once the log says that this instance's lease endangers the cluster: it has to end, whenever it
    /// learns of that.
    pub async fn lease_conflict(&self) -> InvalidationLogError {
        let mut refused = self.lease_conflict.subscribe();
        match refused.wait_for(Option::is_some).await {
            Ok(refused) => refused.clone().unwrap_or(InvalidationLogError::Closed),
            // Its sender is ours.
            Err(_) => InvalidationLogError::Closed,
        }
    }

    /// Brings the copy up to the log's head, as it is after this call began.
    ///
    /// Callers share one reading, but only one that had not been sent yet when they asked.
    pub async fn catch_up(&self) -> Result<(), InvalidationLogError> {
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        let mut last = self.catching_up.lock().await;
        if last.ticket >= ticket {
            return last.result.clone();
        }
        let newest = self.tickets.load(Ordering::Acquire);
        let result = match tokio::time::timeout(self.timeout, self.read_log()).await {
            Ok(result) => result,
            Err(_) => Err(InvalidationLogError::Timeout),
        };
        let newest = if mutant::on(Mutant::SharesASentCatchUp) { self.tickets.load(Ordering::Acquire) } else { newest };
        let failed_at = if result.is_ok() { 0 } else { self.clock.now().nanos() };
        self.failed_at.store(failed_at, Ordering::Relaxed);
        *last = LastRun { ticket: newest, result: result.clone() };
        result
    }

    /// As [`InvalidationLog::catch_up`], if one of others' positions is ahead of ours or in another log.
    pub async fn catch_up_if_behind(&self, positions: impl Iterator<Item = Token>) -> Result<(), InvalidationLogError> {
        let ours = self.position();
        let ahead = positions.filter(|of| of.epoch != ours.epoch || of.position > ours.position).count();
        if ahead == 0 {
            return Ok(());
        }
        self.notifications.fetch_add(ahead as u64, Ordering::Relaxed);
        self.catch_up().await
    }

    /// Commits a fence for a scope durably, then applies the log at least up to it.
    pub async fn append(&self, scope: Scope) -> Result<Appended, InvalidationLogError> {
        self.append_all(vec![scope]).await
    }

    /// The same for several; the last one's position.
    pub async fn append_all(&self, scopes: Vec<Scope>) -> Result<Appended, InvalidationLogError> {
        let before = self.position();
        let count = scopes.len() as u64;
        let positions = try_join_all(scopes.iter().cloned().map(|scope| self.committer.append(scope))).await?;
        let committed_at = self.clock.now();
        self.commits.fetch_add(count, Ordering::Relaxed);
        let (first, last) = positions.iter().fold((i64::MAX, 0), |(low, high), one| (low.min(*one), high.max(*one)));
        if first <= before.position {
            // Applied here already, as another fence: the database has lost commits and filled their places
            // again. Nobody who had applied them would apply this one; a new epoch outdates everything.
            tracing::error!(first, applied = before.position, "a fence was given a position that was in use");
            self.replace_epoch(&before.epoch).await?;
        }
        if mutant::on(Mutant::AppliesOnlyItsOwnRow) {
            let rows = self.log.rows(last - 1, last).await?;
            self.write().apply(&rows, last, 0, self.config.scopes_max);
        }
        if mutant::on(Mutant::AcknowledgesBeforeApplying) {
            return Ok(Appended { token: Token { position: last, ..before }, committed_at });
        }
        // Every row up to it, not only ours: an earlier one of another instance may still be missing.
        self.catch_up().await?;
        let copy = self.read();
        if copy.applied < last
            || !scopes.iter().zip(positions).all(|(scope, position)| copy.invalidates(scope, position))
        {
            // The second: lost since the commit, and its place filled again before we read it.
            return Err(InvalidationLogError::Database(format!("fence {last} was committed, but is not in the log")));
        }
        Ok(Appended { token: Token { epoch: Arc::clone(&copy.epoch), position: last }, committed_at })
    }

    /// Waits until every instance's lease that may predate a commit has lapsed.
    pub async fn wait_for_all(&self, appended: &Appended) {
        // One percent more than the lease: clocks of two machines may run at slightly different speeds.
        let until = appended.committed_at.after(self.config.lease.mul_f64(1.01));
        tokio::time::sleep(until.since(self.clock.now())).await;
    }

    /// Deletes fences that no snapshot can be old enough to need.
    pub async fn trim(&self, older_than: Duration) -> Result<u64, InvalidationLogError> {
        let seconds = i64::try_from(older_than.as_secs()).unwrap_or(i64::MAX);
        Ok(self.log.faults.through(Call::Append, self.log.trim(seconds)).await?)
    }

    /// For the statistics.
    #[must_use]
    pub fn stats(&self) -> FenceStats {
        let until = Moment::from_nanos(self.lease_until.load(Ordering::Acquire));
        FenceStats {
            applied: self.read().applied,
            lease_remaining: Some(until.since(self.clock.now()).into()),
            hints: self.notifications.load(Ordering::Relaxed).try_into().unwrap_or(i64::MAX),
            gaps: self.gaps.load(Ordering::Relaxed).try_into().unwrap_or(i64::MAX),
            commits: self.commits.load(Ordering::Relaxed).try_into().unwrap_or(i64::MAX),
            lag: self.lag().map(Into::into),
        }
    }

    /// How long ago the log was last read to its head; none before the first time.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        let until = self.lease_until.load(Ordering::Acquire);
        (until != 0).then(|| self.clock.now().after(self.config.lease).since(Moment::from_nanos(until)))
    }

    async fn read_log(&self) -> Result<(), InvalidationLogError> {
        loop {
            let (epoch, applied, nonce) = {
                let copy = self.read();
                (copy.epoch.clone(), copy.applied, copy.nonce)
            };
            let sent_at = self.clock.now();
            let head = self.log.head(applied).await?;
            let ours_ms = i64::try_from(self.config.lease.as_millis()).unwrap_or(i64::MAX);
            if ours_ms > head.lease_ms {
                let refused = InvalidationLogError::Lease { ours_ms, theirs_ms: head.lease_ms };
                self.lease_conflict.send_replace(Some(refused.clone()));
                return Err(refused);
            }
            if head.epoch != epoch {
                tracing::info!(epoch = %head.epoch, "adopted the invalidation log");
                self.write().adopt(head.epoch, head.low_watermark);
                continue;
            }
            if head.position < applied || (applied > head.low_watermark && head.nonce != nonce) {
                tracing::error!(
                    applied,
                    head = head.position,
                    "the database lost fences that were applied here; starting a new incarnation"
                );
                self.replace_epoch(&epoch).await?;
                continue;
            }
            if mutant::on(Mutant::LeaseBeforeTheRows) {
                self.lease_until.store(sent_at.after(self.config.lease).nanos(), Ordering::Release);
            }
            // With the row applied last, unless it may be trimmed: between the two reads the database may
            // have lost rows and gained others, which then would hide that from every later check.
            let overlap = i64::from(applied > head.low_watermark && head.position > applied);
            let mut rows = self.log.rows(applied - overlap, head.position).await?;
            if overlap == 1 {
                if rows.first().is_none_or(|row| row.position != applied || Some(row.nonce) != nonce) {
                    continue; // the head, read again, tells what has happened
                }
                rows.remove(0);
            }
            let contiguous = rows.iter().map(|row| row.position).eq(applied + 1..=head.position)
                || mutant::on(Mutant::SequenceForACounter);
            {
                let mut copy = self.write();
                copy.apply(&rows, head.position, head.low_watermark, self.config.scopes_max);
                if !contiguous {
                    copy.raise_low_watermark(head.position);
                }
            }
            if !contiguous {
                self.gaps.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    applied,
                    head = head.position,
                    "the invalidation log has a gap; everything before its head counts as fenced"
                );
            }
            let sent_at = if mutant::on(Mutant::LeaseFromTheReadsEnd) { self.clock.now() } else { sent_at };
            // Order: last, and counted from before the read was sent.
            self.lease_until.store(sent_at.after(self.config.lease).nanos(), Ordering::Release);
            return Ok(());
        }
    }

    async fn replace_epoch(&self, old: &str) -> Result<(), DbErr> {
        self.log.faults.through(Call::Head, self.log.replace_epoch(old)).await
    }

    fn read(&self) -> RwLockReadGuard<'_, LocalCopy> {
        self.copy.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, LocalCopy> {
        self.copy.write()
    }
}

/// A fence that is durable and applied here.
#[derive(Clone, Debug)]
pub struct Appended {
    /// Its position.
    pub token: Token,
    committed_at: Moment,
}

#[cfg(test)]
mod tests;
