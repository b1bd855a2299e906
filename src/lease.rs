//! Leases without clocks: which instance does a piece of work for all of them.
//!
//! A piece of work has a row in `load_lease`. Whoever inserts it does the work and moves the row's
//! beat; the others watch the beat by their own clock and take over one that stands still, so the
//! clocks of two machines are never compared. A row begun below the asker's fence is taken at once:
//! what comes of that work would be of no use to the asker.
//!
//! A lease saves work, it guards nothing: two holders do something twice and harm nobody. So whatever
//! goes wrong here means that the asker goes alone. That is also why a lease is no database lock: one
//! would hold a connection for as long as the work takes, and die with it.
//!
//! Work that ends without a result leaves an outcome in its row for a few seconds, so that the others
//! do not repeat it at once. How old one is tells the database's clock, compared with itself.

mod held;
mod table;
mod watch;

use std::{collections::HashMap, time::Duration};

use sea_orm::{DbErr, Value};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use held::Holder;
pub use held::Lease;
use table::{Claim, Row, Table, Taken};
use watch::Sight;
pub use watch::Watch;

use crate::{
    clock::{Clock, Moment},
    config,
    database::{Pool, Reach},
    sync::Mutex,
};

/// Tries to get hold of a row that comes and goes meanwhile; beyond them the asker goes alone.
const TRIES: u32 = 3;
/// Pauses between looks are spread by this share to either side, so that waiting instances do not
/// fall into step.
const POLL_JITTER: f64 = 0.2;

/// A piece of work that somebody wants done.
#[derive(Clone, Debug)]
pub struct Work {
    /// Names it in the whole cluster.
    pub key: String,
    /// The position of the invalidation log that it would begin at.
    pub s: i64,
    /// Work begun below this position is of no use to the asker.
    pub fence: i64,
    /// Whether it has been done already.
    pub done: Check,
}

/// A question to the database that is asked while a lease is taken.
#[derive(Clone, Debug)]
pub struct Check {
    /// A condition. Its parameters begin with `$7`; `$4` is the fence.
    pub sql: &'static str,
    /// Its parameters.
    pub values: Vec<Value>,
}

/// Who is to do a piece of work.
#[derive(Debug)]
pub enum Turn {
    /// The asker, for everybody.
    Ours(Lease),
    /// Somebody else, who can be watched.
    Theirs(Watch),
    /// The asker, for itself: the database is of no help.
    Alone,
}

/// What watching somebody else's work came to.
#[derive(Debug)]
pub enum Seen {
    /// It ended; what was made is there, or else the work is to be had.
    Gone,
    /// Its holder stood still, or left something too old to be of use: the row may be taken over.
    Over(Watch),
    /// It ended without a result, not long ago.
    Ended {
        /// What its holder left.
        outcome: serde_json::Value,
        /// The row, if the outcome is of no use after all.
        watch: Watch,
    },
    /// Nothing came of it in time, or the database does not answer.
    Nothing,
    /// The service is shutting down.
    Stopped,
}

/// All leases, held and watched.
#[derive(Debug)]
pub struct Leases {
    table: Table,
    config: config::LoadLease,
    /// For one statement of somebody who waits.
    timeout: Duration,
    clock: Clock,
    reach: Reach,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Rows that the last sweep found: key, holder and beat, and since when they look like that.
    swept: Mutex<HashMap<String, (Row, Moment)>>,
}

impl Leases {
    /// Works through `pool`. `tasks` owns what moves the beats; at `stop` nobody waits any longer.
    #[must_use]
    pub fn new(
        pool: Pool,
        config: &config::LoadLease,
        timeout: Duration,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let table = Table::new(pool);
        let (config, reach) = (config.clone(), Reach::default());
        Self { table, config, timeout, clock, reach, tasks, stop, swept: Mutex::default() }
    }

    /// Asks the database only while that is within reach.
    #[must_use]
    pub fn heeding(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Whether the database is asked at all.
    #[must_use]
    pub fn is_in_reach(&self) -> bool {
        self.reach.is_given()
    }

    /// How long somebody who waits for the database waits for one statement.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks for a piece of work, for at most `limit`. `over` is a row that may be taken over.
    pub async fn take(&self, work: &Work, over: Option<Watch>, limit: Duration) -> Turn {
        if limit.is_zero() || !self.is_in_reach() {
            return Turn::Alone;
        }
        let claim = Claim::new(work);
        match tokio::time::timeout(limit, self.try_take(work, &claim, over)).await {
            Ok(Ok(turn)) => turn,
            failed => {
                // It may have been taken all the same: given back, nobody has to watch it stand still.
                drop(self.hold(claim, Taken { done: false, now_ms: 0 }));
                tracing::debug!(error = ?failed.map(|failed| failed.err()), "no lease is to be had; going alone");
                Turn::Alone
            }
        }
    }

    async fn try_take(&self, work: &Work, claim: &Claim, over: Option<Watch>) -> Result<Turn, DbErr> {
        if let Some(over) = over
            && let Some(taken) = self.table.take_over(claim, work, over.holder(), over.beat()).await?
        {
            tracing::info!("took over a lease whose holder is gone");
            return Ok(Turn::Ours(self.hold(claim.clone(), taken)));
        }
        for _ in 0..TRIES {
            if let Some(taken) = self.table.take(claim, work).await? {
                return Ok(Turn::Ours(self.hold(claim.clone(), taken)));
            }
            if let Some(row) = self.table.look(&claim.key).await? {
                return Ok(Turn::Theirs(Watch::new(claim.key.clone(), row, self.clock.now())));
            }
        }
        Ok(Turn::Alone)
    }

    fn hold(&self, claim: Claim, taken: Taken) -> Lease {
        let holder = Holder {
            table: self.table.clone(),
            claim,
            taken,
            taken_at: self.clock.now(),
            config: self.config.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
        };
        holder.start(&self.tasks)
    }

    /// Watches somebody else's work until something comes of it, at most until `until`. Nothing is held
    /// meanwhile, no connection either. `fence` tells the asker's fence as it is by now.
    pub async fn watch(&self, mut watch: Watch, until: Moment, fence: impl Fn() -> i64) -> Seen {
        loop {
            match watch.sight(self.clock.now(), self.config.takeover, fence()) {
                Sight::Working => {}
                Sight::Outdated => return Seen::Gone,
                Sight::Over => return Seen::Over(watch),
                Sight::Ended(outcome) => return Seen::Ended { outcome, watch },
            }
            if self.clock.now() >= until {
                return Seen::Nothing;
            }
            let pause = self.config.poll.mul_f64(1.0 + POLL_JITTER * (2.0 * rand::random::<f64>() - 1.0));
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Seen::Stopped;
            }
            match tokio::time::timeout(self.timeout, self.table.look(watch.key())).await {
                Ok(Ok(Some(row))) if row.holder == watch.holder() => watch.update(row, self.clock.now()),
                // Released, and perhaps taken again by somebody else.
                Ok(Ok(_)) => return Seen::Gone,
                Ok(Err(_)) | Err(_) => return Seen::Nothing,
            }
        }
    }

    /// Deletes rows whose holders died and whom nobody asks for: those that look as they did long ago.
    /// At most `rows_max` are remembered from one call to the next. Returns how many were deleted.
    pub async fn sweep(&self, rows_max: u64) -> Result<u64, DbErr> {
        let now = self.clock.now();
        let rows = self.table.all(rows_max).await?;
        let mut before = std::mem::take(&mut *self.swept.lock());
        let (mut still_there, mut deleted) = (HashMap::new(), 0);
        for (key, row) in rows {
            let since = match before.remove(&key) {
                Some((seen, since)) if (&seen.holder, seen.beat) == (&row.holder, row.beat) => since,
                _ => now,
            };
            if now.since(since) > self.config.takeover + self.config.outcome_max {
                deleted += self.table.delete(&key, &row.holder, row.beat).await?;
            } else {
                still_there.insert(key, (row, since));
            }
        }
        *self.swept.lock() = still_there;
        Ok(deleted)
    }
}
