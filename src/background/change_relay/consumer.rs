//! The cluster's row in the sources' database, by which notes are trimmed and copies of a cluster are found.
//!
//! Order: the next nonce is stored in the log's database before it is written there, so that a crash in between is not
//! taken for a copy of this cluster.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{ChangeRelay, RelayError, RelayState, state::Stored};
use crate::{
    cache::invalidation_log::{InvalidationLogError, consumption::Consumption},
    changes::{Consumed, Consumer, Reported},
    sync::time::timeout,
};

/// How often the row is written: far more often than the hour after which a cluster counts as gone.
const EVERY: Duration = Duration::from_secs(10);
/// Nonces that may stand in the row, at most: one for each crash between the two writes.
const NONCES_MAX: usize = 8;

impl ChangeRelay {
    /// Writes the row if it is due, and has the outbox trimmed.
    pub(super) async fn keep_registered(&self, state: &mut RelayState) -> Result<(), RelayError> {
        let now = self.clock.now();
        if now < state.report_at {
            return Ok(());
        }
        let Some(stored) = state.stored.take() else { return Ok(()) };
        state.report_at = now.after(EVERY);
        let Some(consumed) = stored.consumed.clone() else { return Ok(()) };
        // Order: read before the log's head. It shows a log that has lost commits.
        if let Some((_, seen)) = self.outbox.reported(stored.row.cluster).await.map_err(RelayError::Outbox)? {
            self.log.compare_with(&seen).await?;
        }
        let nonce = Uuid::new_v4();
        let known: Vec<Uuid> = stored.row.nonces.iter().copied().chain([nonce]).collect();
        let Some(announced) = self.store(&stored, stored.row.cluster, &known).await? else { return Ok(()) };
        let cluster = announced.row.cluster;
        let consumer = Consumer { cluster, nonce, known, consumed, token: self.log.position() };
        match self.outbox.report(&consumer).await.map_err(RelayError::Outbox)? {
            Reported::Ours => state.stored = self.store(&announced, cluster, &[nonce]).await?,
            Reported::AnotherHolder => state.stored = self.rename(&announced).await?,
        }
        self.tidy(consumer.consumed);
        Ok(())
    }

    /// Counts the notes that wait, and deletes those that no cluster needs. Not waited for: many of them take longer than a
    /// round.
    fn tidy(&self, consumed: Consumed) {
        let (outbox, counters, tidying) = (self.outbox.clone(), Arc::clone(&self.counters), Arc::clone(&self.tidying));
        self.tasks.spawn(async move {
            let Ok(_only) = tidying.try_lock() else { return };
            if let Ok(Ok(waiting)) = timeout(super::READ_MAX, outbox.backlog(Some(&consumed))).await {
                counters.changes.backlog.set(waiting.try_into().unwrap_or_default());
            }
            match timeout(super::READ_MAX, outbox.trim()).await {
                Ok(Ok(0)) => {}
                Ok(Ok(notes)) => tracing::debug!(notes, "outbox trimmed"),
                Ok(Err(error)) => tracing::debug!(%error, "outbox not trimmed; the next time it is"),
                Err(_elapsed) => tracing::debug!("outbox not trimmed in time; the next time it is"),
            }
        });
    }

    /// Goes on under a name of its own: another database, of which this one is a copy or the other way round, uses this
    /// one. Documents of the two must not be taken for each other, so an epoch begins.
    async fn rename(&self, stored: &Stored) -> Result<Option<Stored>, RelayError> {
        tracing::error!(
            "another cluster uses this one's name in the outbox: the cache's database was copied; this cluster goes on \
             under a new name, and everything cached counts as outdated"
        );
        let row = Consumption {
            cluster: Uuid::new_v4(),
            nonces: vec![Uuid::new_v4()],
            version: rand::random(),
            ..stored.row.clone()
        };
        let renaming = self.log.begin_epoch_consuming(&stored.row, &row);
        let is_first = timeout(super::COMMIT_MAX, renaming).await.map_err(|_| InvalidationLogError::Timeout)??;
        Ok(is_first.then(|| Stored { row, consumed: stored.consumed.clone() }))
    }

    /// None if another instance has stored something meanwhile.
    async fn store(&self, before: &Stored, cluster: Uuid, nonces: &[Uuid]) -> Result<Option<Stored>, RelayError> {
        let nonces = nonces[nonces.len().saturating_sub(NONCES_MAX)..].to_vec();
        let row = Consumption { cluster, nonces, version: rand::random(), ..before.row.clone() };
        let storing = self.log.append_consuming(Vec::new(), &before.row, &row);
        let is_first = timeout(super::COMMIT_MAX, storing).await.map_err(|_| InvalidationLogError::Timeout)??;
        Ok(is_first.then(|| Stored { row, consumed: before.consumed.clone() }))
    }
}
