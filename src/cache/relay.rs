//! Moves the sources' outbox into the invalidation log: what changed there is an invalidation here.
//!
//! Order: read and lock the rows, commit their fences, delete the rows. A crash between repeats the
//! fences, which harms nobody; the other way round would lose them. Every instance relays; rows that
//! one has locked the others pass over.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{UserDataCache, invalidation_log::InvalidationLogError, stats::Counter};
use crate::{
    changes::Outbox,
    clock::{Clock, Moment},
    mutant::{self, Mutant},
    proto::v1::ChangeStats,
};

/// Rows moved at once: many for one commit, few enough for its statement.
const BATCH_ROWS: u64 = 1000;
/// How often an outbox that is not there is looked for: the triggers may be installed any time.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The sources' outbox, and what has come from it.
#[derive(Debug)]
pub struct Relay {
    outbox: Outbox,
    clock: Clock,
    /// Nanoseconds on the boot-time clock: until then it is taken to be missing.
    missing_until: AtomicU64,
    changes: Counter,
    fences: Counter,
    lag_ms: AtomicU64,
}

/// Why changes could not be moved; the next run tries again.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the outbox cannot be read or emptied")]
    Outbox(#[from] sea_orm::DbErr),
    #[error(transparent)]
    InvalidationLog(#[from] InvalidationLogError),
}

impl Relay {
    /// Takes from `outbox`.
    #[must_use]
    pub fn new(outbox: Outbox, clock: Clock) -> Self {
        Self {
            outbox,
            clock,
            missing_until: AtomicU64::new(0),
            changes: Counter::default(),
            fences: Counter::default(),
            lag_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn is_missing(&self) -> bool {
        self.clock.now() < Moment::from_nanos(self.missing_until.load(Ordering::Relaxed))
    }

    fn look_later(&self) {
        let later = self.clock.now().after(LOOK_EVERY).nanos();
        self.missing_until.store(later, Ordering::Relaxed);
    }

    /// Whether no change waits, nor is being moved by anybody.
    pub(super) async fn is_empty(&self) -> bool {
        self.outbox.backlog().await.is_ok_and(|rows| rows == 0)
    }

    /// Changes moved so far.
    pub(super) fn changes(&self) -> i64 {
        self.changes.get()
    }

    /// How long the oldest change of the last batch had waited.
    pub(super) fn lag(&self) -> Duration {
        Duration::from_millis(self.lag_ms.load(Ordering::Relaxed))
    }

    /// How many changes wait; none if the database does not tell.
    pub(super) async fn backlog(&self) -> Option<i64> {
        if self.is_missing() { None } else { self.outbox.backlog().await.ok() }
    }

    /// For the statistics: what is known here.
    pub(super) fn stats(&self) -> ChangeStats {
        ChangeStats {
            active: !self.is_missing(),
            changes: self.changes(),
            invalidations: self.fences.get(),
            backlog: None,
            lag: Some(self.lag().into()),
        }
    }
}

impl UserDataCache {
    /// Turns what has changed in the sources into fences.
    pub async fn relay_changes(&self) {
        let Some(relay) = self.relay.as_ref().filter(|relay| !relay.is_missing()) else { return };
        if let Err(error) = self.move_changes(relay).await {
            match relay.outbox.exists().await {
                Ok(false) => relay.look_later(),
                _ => tracing::warn!(error = &error as &dyn std::error::Error, "changes could not be relayed"),
            }
        }
    }

    async fn move_changes(&self, relay: &Relay) -> Result<(), RelayError> {
        while let Some(mut batch) = relay.outbox.read(BATCH_ROWS).await? {
            let (rows, fences, lag) = (batch.rows as u64, batch.scopes.len() as u64, batch.age);
            let last = rows < BATCH_ROWS;
            if mutant::on(Mutant::ForgetsBeforeFencing) {
                batch.delete().await?;
            }
            if !batch.scopes.is_empty() {
                self.invalidation_log().append_all(batch.scopes.clone()).await?;
            }
            relay.fences.add(fences);
            relay.lag_ms.store(lag.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            self.hint().await;
            // Order: only now, or a crash would lose them.
            batch.delete().await?;
            relay.changes.add(rows);
            if last {
                break;
            }
        }
        Ok(())
    }
}
