//! Leases: one instance does a piece of work for the whole cluster.
//!
//! A lease is a row in the table `load_lease`. The instance that inserts the row holds the lease, does the work and
//! increments the row's heartbeat. Every other instance watches the heartbeat by its own clock and takes the lease over
//! when the heartbeat stops, so clocks of two machines are never compared. A row whose read position is below the last
//! invalidation is taken at once: its result would be outdated for the new claimant.
//!
//! A lease only saves work. Two holders do the work twice, and both results are right. So on any failure an instance
//! works without a lease. For the same reason a lease is not a database lock: a lock would occupy a connection for as
//! long as the work runs, and would be lost with that connection.
//!
//! Work that ends without a result leaves an outcome in its row for a few seconds, so that other instances do not
//! repeat it at once. The database's clock decides how old an outcome is, so one clock writes and judges it.

mod held;
#[cfg(feature = "shuttle")]
mod in_memory;
#[cfg(not(feature = "shuttle"))]
mod table;
mod watch;
mod work;

use std::{collections::HashMap, time::Duration};

use sea_orm::DbErr;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use held::HeartbeatTask;
pub use held::Lease;
#[cfg(feature = "shuttle")]
use in_memory as table;
use table::LeaseTable;
use watch::LeaseState;
pub use watch::LeaseWatch;
pub use work::{AI_CALL, SharedWork};
use work::{Claimant, Grant, LeaseRow};

#[cfg(feature = "shuttle")]
use crate::database::in_memory::MemoryDatabase;
use crate::{
    clock::{Clock, Moment},
    config,
    database::{Pool, Reach},
    sync::{
        Mutex, TaskTracker, random,
        time::{sleep, timeout},
    },
};

/// Of the digest of a place.
const PLACE_BYTES: usize = 8;
/// Attempts at a row that other instances insert and delete meanwhile; then the caller works without a lease.
const CLAIM_ATTEMPTS: u32 = 3;
/// Waiting instances vary their pauses by this share, so that they do not query in step.
const POLL_JITTER: f64 = 0.2;

/// Which instance does the work.
#[derive(Debug)]
pub enum Claim {
    /// This instance, for the cluster.
    Ours(Lease),
    /// Another instance; its lease can be watched.
    Theirs(LeaseWatch),
    /// This instance, for itself: the database granted nothing.
    Alone,
}

/// How waiting for another instance's work ended.
#[derive(Debug)]
pub enum WaitOutcome {
    /// The lease was released or replaced: the result is stored, or the lease is free.
    Released,
    /// The heartbeat stopped, or the outcome is too old. The lease may be taken over.
    Expired(LeaseWatch),
    /// The work ended without a result a moment ago.
    Ended {
        /// What the holder reports.
        outcome: serde_json::Value,
        /// For a takeover, if the caller cannot use the outcome.
        watch: LeaseWatch,
    },
    /// The time limit passed, or the database does not answer.
    TimedOut,
    /// The service is shutting down.
    Stopped,
}

/// Claims leases, waits for those of other instances, and sweeps dead ones.
#[derive(Debug)]
pub struct Leases {
    table: LeaseTable,
    config: config::LoadLeaseSettings,
    /// For one statement of a waiting caller.
    timeout: Duration,
    clock: Clock,
    reach: Reach,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Where this process runs. None: a place that no other process follows at.
    place: Option<String>,
    instance: String,
    /// By key, the rows that the last sweep found, and since when each is unchanged.
    swept: Mutex<HashMap<String, (LeaseRow, Moment)>>,
}

impl Leases {
    /// `tasks` owns the heartbeats; `stop` ends all waiting.
    #[must_use]
    pub fn new(
        pool: Pool,
        config: &config::LoadLeaseSettings,
        timeout: Duration,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self::of(LeaseTable::new(pool), config, timeout, clock, tasks, stop)
    }

    /// As [`Self::new`], with the table in memory.
    #[cfg(feature = "shuttle")]
    #[must_use]
    pub fn over(
        table: MemoryDatabase,
        config: &config::LoadLeaseSettings,
        timeout: Duration,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self::of(LeaseTable::of(table), config, timeout, clock, tasks, stop)
    }

    fn of(
        table: LeaseTable,
        config: &config::LoadLeaseSettings,
        timeout: Duration,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (config, reach) = (config.clone(), Reach::default());
        let instance = format!("{:016x}", random::<i64>());
        Self { table, config, timeout, clock, reach, tasks, stop, place: None, instance, swept: Mutex::default() }
    }

    /// Of the process that runs at this place, for example a host and port, of which there is only one at a time.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        let digest = Sha256::digest(place);
        let place = format!("{}/", hex::encode(&digest[..PLACE_BYTES]));
        Self { instance: format!("{place}{}", self.instance), place: Some(place), ..self }
    }

    /// Gives back what earlier processes held at this place: a killed one cannot. Two processes at one place would do
    /// work twice, nothing more.
    pub async fn release_predecessors(&self) -> Result<u64, DbErr> {
        match &self.place {
            Some(place) => self.table.release_predecessors(place, &self.instance).await,
            None => Ok(0),
        }
    }

    /// Uses the database only while `reach` says that it answers.
    #[must_use]
    pub fn heeding(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    #[must_use]
    pub fn is_in_reach(&self) -> bool {
        self.reach.is_given()
    }

    /// The time limit of one statement.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Claims a piece of work, within `limit`. `expired` is a lease that may be taken over.
    pub async fn claim(&self, work: &SharedWork, expired: Option<LeaseWatch>, limit: Duration) -> Claim {
        if limit.is_zero() || !self.is_in_reach() {
            return Claim::Alone;
        }
        let claimant = Claimant::new(work, &self.instance);
        match timeout(limit, self.try_claim(work, &claimant, expired)).await {
            Ok(Ok(claim)) => claim,
            failed => {
                // The row may have been written all the same. Release it, or others wait for its heartbeat to expire.
                drop(self.hold(claimant, Grant { done: false, now_ms: 0 }));
                tracing::debug!(
                    error = ?failed.map(|failed| failed.err()),
                    "lease claim failed; this instance works without a lease"
                );
                Claim::Alone
            }
        }
    }

    async fn try_claim(
        &self,
        work: &SharedWork,
        claimant: &Claimant,
        expired: Option<LeaseWatch>,
    ) -> Result<Claim, DbErr> {
        if let Some(watch) = expired
            && let Some(grant) = self.table.take_over(claimant, work, watch.holder(), watch.heartbeat()).await?
        {
            tracing::info!("lease taken over; its holder sent no heartbeat");
            // In the same step the call to a model that it made for the load, or the load would wait for that anew.
            if !watch.instance().is_empty() {
                let released = self.table.release_ai_calls_of(watch.instance()).await;
                tracing::debug!(?released, "leases of its AI calls released");
            }
            return Ok(Claim::Ours(self.hold(claimant.clone(), grant)));
        }
        for _ in 0..CLAIM_ATTEMPTS {
            if let Some(grant) = self.table.take(claimant, work).await? {
                return Ok(Claim::Ours(self.hold(claimant.clone(), grant)));
            }
            if let Some(row) = self.table.find(&claimant.key).await? {
                return Ok(Claim::Theirs(LeaseWatch::new(claimant.key.clone(), row, self.clock.now())));
            }
        }
        Ok(Claim::Alone)
    }

    fn hold(&self, claimant: Claimant, grant: Grant) -> Lease {
        let task = HeartbeatTask {
            table: self.table.clone(),
            claimant,
            grant,
            granted_at: self.clock.now(),
            config: self.config.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
        };
        task.start(&self.tasks)
    }

    /// Waits for another instance's work, at most until `until`. Holds no connection between two looks at the row.
    /// `last_invalidation` returns the position that counts at the time of the look.
    pub async fn wait(&self, mut watch: LeaseWatch, until: Moment, last_invalidation: impl Fn() -> i64) -> WaitOutcome {
        loop {
            match watch.state(self.clock.now(), self.config.takeover, last_invalidation()) {
                LeaseState::Working => {}
                // The caller's next claim replaces the row.
                LeaseState::Outdated => return WaitOutcome::Released,
                LeaseState::Expired => return WaitOutcome::Expired(watch),
                LeaseState::Ended(outcome) => return WaitOutcome::Ended { outcome, watch },
            }
            if self.clock.now() >= until {
                return WaitOutcome::TimedOut;
            }
            let pause = self.config.poll.mul_f64(1.0 + POLL_JITTER * (2.0 * random::<f64>() - 1.0));
            if self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return WaitOutcome::Stopped;
            }
            match timeout(self.timeout, self.table.find(watch.key())).await {
                Ok(Ok(Some(row))) if row.holder == watch.holder() => watch.update(row, self.clock.now()),
                // No row, or another holder's.
                Ok(Ok(_)) => return WaitOutcome::Released,
                Ok(Err(_)) | Err(_) => return WaitOutcome::TimedOut,
            }
        }
    }

    /// Deletes rows of dead holders that no caller waits for: rows unchanged for longer than a heartbeat or an outcome
    /// may be. Reads and remembers at most `rows_max` rows. Returns how many it deleted.
    pub async fn sweep(&self, rows_max: u64) -> Result<u64, DbErr> {
        let now = self.clock.now();
        let rows = self.table.all(rows_max).await?;
        let mut before = std::mem::take(&mut *self.swept.lock());
        let (mut still_there, mut deleted, mut failed) = (HashMap::new(), 0, None);
        for (key, row) in rows {
            let since = match before.remove(&key) {
                Some((seen, since)) if (&seen.holder, seen.heartbeat) == (&row.holder, row.heartbeat) => since,
                _ => now,
            };
            if now.since(since) > self.config.takeover + self.config.outcome_max {
                match self.table.delete(&key, &row.holder, row.heartbeat).await {
                    Ok(rows) => {
                        deleted += rows;
                        continue;
                    }
                    // The next sweep tries again, and need not wait anew.
                    Err(error) => failed = Some(error),
                }
            }
            still_there.insert(key, (row, since));
        }
        *self.swept.lock() = still_there;
        failed.map_or(Ok(deleted), Err)
    }
}
