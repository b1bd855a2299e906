//! Moves the sources' outbox into the invalidation log: a change there is an invalidation here.
//!
//! Order: read and lock the rows, append their invalidations, delete the rows. A crash in between repeats the
//! invalidations, which is harmless; any other order would lose them. Every instance relays, and skips the rows that
//! another one has locked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    cache::{
        counters::Counters,
        invalidation_log::{InvalidationLog, InvalidationLogError},
        tiers::Tiers,
    },
    changes::Outbox,
    clock::{Clock, Moment},
    mutant::{self, Mutant},
};

/// Rows per batch: many for one commit, few enough for its statement.
const BATCH_ROWS: u64 = 1000;
/// How often to look for a missing outbox: the triggers may be installed at any time.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct ChangeRelay {
    outbox: Outbox,
    log: Arc<InvalidationLog>,
    tiers: Arc<Tiers>,
    counters: Arc<Counters>,
    clock: Clock,
    /// Nanoseconds on the monotonic clock: the outbox counts as missing until then.
    missing_until: AtomicU64,
}

/// Why a batch was not relayed.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the outbox cannot be read or emptied")]
    Outbox(#[from] sea_orm::DbErr),
    #[error(transparent)]
    Log(#[from] InvalidationLogError),
}

impl ChangeRelay {
    pub(super) fn new(
        outbox: Outbox,
        log: Arc<InvalidationLog>,
        tiers: Arc<Tiers>,
        counters: Arc<Counters>,
        clock: Clock,
    ) -> Self {
        Self { outbox, log, tiers, counters, clock, missing_until: AtomicU64::new(0) }
    }

    /// Turns all waiting changes into invalidations.
    pub(super) async fn run(&self) {
        if self.clock.now() < Moment::from_nanos(self.missing_until.load(Relaxed)) {
            return;
        }
        let relayed = self.relay().await;
        let mut is_missing = false;
        if let Err(error) = relayed {
            is_missing = matches!(self.outbox.exists().await, Ok(false));
            if is_missing {
                self.missing_until.store(self.clock.now().after(LOOK_EVERY).nanos(), Relaxed);
            } else {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "changes not relayed from the outbox; the next poll retries");
            }
        }
        self.counters.changes.outbox_missing.store(is_missing, Relaxed);
    }

    async fn relay(&self) -> Result<(), RelayError> {
        let counters = &self.counters.changes;
        while let Some(mut batch) = self.outbox.take().await? {
            let (rows, invalidations, lag) = (batch.rows as u64, batch.changes.len() as u64, batch.age);
            if mutant::on(Mutant::DeletesBeforeInvalidating) {
                batch.delete().await?;
            }
            if !batch.changes.is_empty() {
                self.log.append_all(batch.changes.clone()).await?;
            }
            counters.invalidations.add(invalidations);
            counters.lag_ms.set(lag.as_millis().try_into().unwrap_or(u64::MAX));
            self.tiers.notify().await;
            // Order: after the append, or a crash would lose the changes.
            batch.delete().await?;
            counters.changes.add(rows);
            if rows < BATCH_ROWS {
                break;
            }
        }
        Ok(())
    }

    /// Whether no change waits, and no instance is moving one.
    pub(super) async fn is_drained(&self) -> bool {
        self.outbox.backlog(None).await.is_ok_and(|rows| rows == 0)
    }
}
