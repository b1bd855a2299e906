//! How invalidations become durable, are checked, and are acknowledged.
//!
//! Invariant: an entry is acknowledged only when a reading over another connection has found it, in the epoch that it was
//! committed in.

use std::sync::Arc;

use super::{Appended, InvalidationLog, InvalidationLogError};
use crate::{
    model::{Invalidation, Scope, Token, UserHash},
    mutant::{self, Mutant},
};

/// Readings of the log after a commit that may time out: for 5 s with the default timeout, longer than most deadlines.
const TIMEOUTS_MAX: u32 = 25;
/// Readings that may fail: they may have waited for a connection for too long.
const FAILURES_MAX: u32 = 10;
/// Attempts at an entry, while other epochs begin.
const ATTEMPTS: u32 = 3;

impl InvalidationLog {
    /// Commits an invalidation durably, then applies the log at least up to it.
    pub async fn append(&self, scope: Scope<UserHash>) -> Result<Appended, InvalidationLogError> {
        self.append_all(vec![Invalidation::Of(scope)]).await
    }

    /// As [`InvalidationLog::append`], for several entries in one commit. Returns the highest of their positions.
    pub async fn append_all(&self, entries: Vec<Invalidation>) -> Result<Appended, InvalidationLogError> {
        for _ in 0..ATTEMPTS {
            if let Some(appended) = self.try_append(&entries).await? {
                // Order: before it is acknowledged.
                self.raise_witness(appended.token.position).await;
                return Ok(appended);
            }
        }
        Err(InvalidationLogError::Database("each time an entry was committed, another epoch began".to_owned()))
    }

    async fn try_append(&self, entries: &[Invalidation]) -> Result<Option<Appended>, InvalidationLogError> {
        let before = self.position();
        let last = self.committer.append(entries.to_vec()).await?;
        self.acknowledge(&before, entries, last).await
    }

    /// Applies the log up to the entries that were committed, the last of them at `last`. `before`: how far the log was
    /// applied before the commit. None if another epoch is read than the one that they were committed in. It may have
    /// begun before them, in another database.
    pub(super) async fn acknowledge(
        &self,
        before: &Token,
        entries: &[Invalidation],
        last: Token,
    ) -> Result<Option<Appended>, InvalidationLogError> {
        let committed_at = self.clock.now();
        self.commits.add(entries.len() as u64);
        let first = last.position + 1 - i64::try_from(entries.len()).unwrap_or(i64::MAX);
        if last.epoch == before.epoch && first <= before.position {
            // The database has lost commits and now gives their positions again. An instance that had applied the lost
            // rows would skip the new ones at the same positions. A new epoch outdates everything instead.
            tracing::error!(
                first,
                applied = before.position,
                "the database reused a position of the invalidation log; starting a new epoch"
            );
            self.replace_epoch(&before.epoch).await?;
        }
        if mutant::on(Mutant::AppliesOnlyItsOwnRow) {
            let rows = self.table.rows(last.position - 1, last.position).await?;
            self.copy.write().apply(&rows, last.position, 0, self.config.scopes_max);
        }
        if mutant::on(Mutant::AcknowledgesBeforeApplying) {
            let token = Token { epoch: Arc::clone(&before.epoch), position: last.position };
            return Ok(Some(Appended { token, committed_at }));
        }
        // Applies all rows up to `last`: earlier rows of other instances may still be missing here.
        self.catch_up_after_commit().await?;
        let copy = self.copy.read();
        if copy.epoch != last.epoch {
            return Ok(None);
        }
        // The database may have lost the row since its commit, and may have filled its position with another row.
        let is_applied = copy.applied >= last.position
            && entries.iter().zip(first..).all(|(entry, position)| copy.invalidates(entry, position));
        if !is_applied {
            return Err(InvalidationLogError::Database(format!(
                "position {} was committed, but is not in the log",
                last.position
            )));
        }
        Ok(Some(Appended { token: last, committed_at }))
    }

    /// What is committed is in force, so its reading is repeated until the caller leaves: a caller that gets an error would
    /// repeat the whole call, and a thousand of them would repeat a storm.
    pub(super) async fn catch_up_after_commit(&self) -> Result<(), InvalidationLogError> {
        let (mut timeouts, mut failures) = (0, 0);
        loop {
            match self.catch_up().await {
                Err(InvalidationLogError::Timeout) if timeouts < TIMEOUTS_MAX => timeouts += 1,
                Err(InvalidationLogError::Database(_)) if failures < FAILURES_MAX => failures += 1,
                done => return done,
            }
        }
    }
}
