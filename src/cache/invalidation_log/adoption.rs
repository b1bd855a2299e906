//! How an instance goes on with a log of another epoch.
//!
//! Two databases may have answered under one address for a while, as when a standby is promoted and the old primary lives
//! on. An instance that comes back from the old one has applied, and perhaps acknowledged, entries that the new one
//! lacks. It appends them there before it adopts the new epoch. Documents of that epoch may have been read before them.
//!
//! Invariant: an entry that was acknowledged by an instance that still lives outdates documents of every later epoch.

use std::sync::Arc;

use sea_orm::DbErr;

use super::{InvalidationLog, InvalidationLogError, epoch::LaterEpoch, row::LogHead};
use crate::{
    fault::FaultPoint,
    model::{Invalidation, Token},
};

impl InvalidationLog {
    /// Goes on with the log at `head`, which is of another epoch than what is applied here. Adopts nothing if the log has
    /// to be read again first.
    pub(super) async fn adopt(
        &self,
        head: &LogHead,
        applied: &Token,
        nonce: Option<i64>,
    ) -> Result<(), InvalidationLogError> {
        if self.has_ended(&head.epoch).await {
            tracing::error!(
                "the database went back to an epoch of the invalidation log that has ended; starting a new epoch"
            );
            self.replace_epoch(&head.epoch).await?;
            return Ok(());
        }
        match self.lacking(head, applied, nonce).await? {
            Some(entries) if entries.is_empty() => {}
            Some(entries) => {
                tracing::warn!(
                    entries = entries.len(),
                    "the invalidation log lacks entries that were applied here; they are appended again"
                );
                if self.committer.append(entries).await?.epoch != head.epoch {
                    return Ok(());
                }
            }
            None => {
                tracing::warn!("the invalidation log lacks many entries that were applied here; starting a new epoch");
                self.replace_epoch(&head.epoch).await?;
                return Ok(());
            }
        }
        // A new epoch also begins when the change feed cannot be continued: then nothing is lost.
        let is_continued = head.position >= applied.position && head.nonce == nonce;
        if !applied.epoch.is_empty() && !is_continued {
            self.gaps.add(1);
            self.erasures.lock().miss(self.clock.now());
        }
        tracing::info!(epoch = %head.epoch, "invalidation log adopted; nothing cached in another epoch is served");
        self.copy.write().adopt(Arc::clone(&head.epoch), head.low_watermark);
        Ok(())
    }

    /// The entries applied here that the log may lack, and that its epoch does not outdate. None if they are too many.
    async fn lacking(
        &self,
        head: &LogHead,
        applied: &Token,
        nonce: Option<i64>,
    ) -> Result<Option<Vec<Invalidation>>, InvalidationLogError> {
        let began_later = self.later_epoch.lock().as_ref().is_some_and(|later| later.outdates(applied, &head.epoch));
        // With the entry that was applied last, the log has all before it.
        let has_all = nonce.is_some() && head.nonce == nonce;
        if began_later || has_all {
            return Ok(Some(Vec::new()));
        }
        let span = self.copy.read().recent.span();
        let there = match span {
            Some((after, end)) => self.table.rows(after, end).await?,
            None => Vec::new(),
        };
        Ok(self.copy.read().recent.lacking(&there))
    }

    /// Starts a new epoch in place of `old`, unless another instance has done so.
    pub(super) async fn replace_epoch(&self, old: &str) -> Result<(), DbErr> {
        // Order: before the next epoch begins. A restore to before it gives this one back.
        self.end_witness(old).await;
        let applied = self.position();
        let replacing = self.table.replace_epoch(old);
        let epoch = self.table.faults.through(FaultPoint::Head, replacing).await?;
        self.gaps.add(1);
        *self.later_epoch.lock() = Some(LaterEpoch::new(epoch, applied));
        Ok(())
    }
}
