//! What the cluster has consumed of the sources' outbox, kept beside the log: an entry of the log and the note that it
//! was made from are consumed in one commit, so that nothing is lost and nothing repeated.
//!
//! Every commit is a compare-and-set on a version. An instance that slept through a takeover changes nothing.

use uuid::Uuid;

use super::{InvalidationLog, InvalidationLogError};
use crate::{
    fault::FaultPoint,
    model::{Invalidation, Token},
    mutant::{self, Mutant},
    sync::time::timeout,
};

/// The row of `change_feed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consumption {
    /// This cluster's name in the outbox.
    pub(crate) cluster: Uuid,
    /// What may stand in the outbox as this cluster's, unless another one uses its name.
    pub(crate) nonces: Vec<Uuid>,
    /// JSON. None: no outbox was ever read.
    pub(crate) consumed: Option<String>,
    /// A random number for each commit: a counter would be used twice after a restore.
    pub(crate) version: i64,
}

impl InvalidationLog {
    pub(crate) async fn consumption(&self) -> Result<Consumption, InvalidationLogError> {
        let reading = self.table.faults.through(FaultPoint::Head, self.table.consumption());
        Ok(timeout(self.timeout, reading).await.map_err(|_| InvalidationLogError::Timeout)??)
    }

    /// Appends the entries and stores what was consumed for them, in one durable commit, and applies the log at least up
    /// to it. False, without a change, if `before` is no longer what is stored.
    pub(crate) async fn append_consuming(
        &self,
        entries: Vec<Invalidation>,
        before: &Consumption,
        next: &Consumption,
    ) -> Result<bool, InvalidationLogError> {
        let position = self.position();
        if mutant::on(Mutant::ConsumesBeforeInvalidating) {
            let is_first = self.table.append_consuming(&[], before.version, next).await?.is_some();
            if is_first && !entries.is_empty() {
                self.append_all(entries).await?;
            }
            return Ok(is_first);
        }
        let committing = self.table.append_consuming(&entries, before.version, next);
        let Some(last) = self.table.faults.through(FaultPoint::Append, committing).await? else { return Ok(false) };
        if !entries.is_empty() && self.acknowledge(&position, &entries, last).await?.is_none() {
            self.append_all(entries).await?;
        }
        Ok(true)
    }

    /// Begins a new epoch and stores what is consumed in it, in one durable commit. False, without a change, if `before` is
    /// no longer what is stored.
    pub(crate) async fn begin_epoch_consuming(
        &self,
        before: &Consumption,
        next: &Consumption,
    ) -> Result<bool, InvalidationLogError> {
        let Token { epoch, .. } = self.position();
        // Order: as in [`Self::replace_epoch`].
        self.end_witness(&epoch).await;
        let committing = self.table.begin_epoch_consuming(before.version, next);
        let is_begun = self.table.faults.through(FaultPoint::Append, committing).await?;
        if is_begun {
            tracing::info!(replaced = %epoch, "a new epoch of the invalidation log begins");
            self.catch_up_after_commit().await?;
        }
        Ok(is_begun)
    }
}
