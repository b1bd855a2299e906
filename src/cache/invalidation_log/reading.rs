//! How the log is read into the local copy: page by page, each kept.
//!
//! A page that is applied stays applied, whatever happens to the next one, so an instance that is far behind gets closer
//! with each. The lease is renewed only by the page that reaches the head.

use super::{
    InvalidationLog, InvalidationLogError,
    row::{LogHead, LogRow},
};
use crate::{
    model::Token,
    mutant::{self, Mutant},
    sync::{atomic::Ordering, time::timeout},
};

/// Rows of a page.
const PAGE: i64 = 2000;
/// An instance that begins reads so many of the newest rows. What was read before them counts as outdated.
const FIRST_READ_MAX: i64 = 20_000;
/// An instance that is further behind than this begins anew: reading all would take seconds, in which it answers nothing
/// from the cache.
const BEHIND_MAX: i64 = 200_000;

/// What reading a page came to.
enum Page {
    /// The copy has reached the head.
    AtHead,
    /// There is more to read, or the head has to be read again.
    More,
}

impl InvalidationLog {
    /// Reads up to the head.
    pub(super) async fn read_log(&self) -> Result<(), InvalidationLogError> {
        loop {
            match timeout(self.timeout, self.read_page()).await {
                Ok(Ok(Page::AtHead)) => return Ok(()),
                Ok(Ok(Page::More)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(InvalidationLogError::Timeout),
            }
        }
    }

    async fn read_page(&self) -> Result<Page, InvalidationLogError> {
        let (applied, nonce) = {
            let copy = self.copy.read();
            (Token { epoch: copy.epoch.clone(), position: copy.applied }, copy.nonce)
        };
        let sent_at = self.clock.now();
        let head =
            self.table.head(applied.position).await.inspect_err(|_| self.behind.store(false, Ordering::Relaxed))?;
        self.behind.store(head.position > applied.position || head.epoch != applied.epoch, Ordering::Relaxed);
        if let Some(feed) = self.feed.get() {
            feed.record_poll(sent_at, &head.feed);
        }
        self.check_lease(&head)?;
        if self.is_of_another_log(&head, &applied, nonce).await? {
            return Ok(Page::More);
        }
        if let Some(start) = self.skips_to(&head, applied.position) {
            let nonce = self.table.head(start).await?.nonce;
            if self.lease_until.load(Ordering::Relaxed) != 0 {
                self.erasures.lock().miss(self.clock.now());
            }
            self.copy.write().skip_to(start, nonce);
            return Ok(Page::More);
        }
        if mutant::on(Mutant::LeaseBeforeTheRows) {
            self.lease_until.store(sent_at.after(self.config.lease).nanos(), Ordering::Release);
        }
        let end = head.position.min(applied.position.saturating_add(PAGE));
        let Some(rows) = self.rows_after(applied.position, nonce, &head, end).await? else { return Ok(Page::More) };
        self.apply(&rows, applied.position, end, &head);
        if end < head.position {
            return Ok(Page::More);
        }
        let sent_at = if mutant::on(Mutant::LeaseFromTheReadsEnd) { self.clock.now() } else { sent_at };
        // Order: last, and counted from before the reading was sent.
        self.lease_until.store(sent_at.after(self.config.lease).nanos(), Ordering::Release);
        if let Some(feed) = self.feed.get() {
            feed.applied(sent_at, &head.feed);
        }
        self.behind.store(false, Ordering::Relaxed);
        Ok(Page::AtHead)
    }

    /// Where to go on if there are too many rows to read, or if they are trimmed.
    fn skips_to(&self, head: &LogHead, applied: i64) -> Option<i64> {
        let is_first = self.lease_until.load(Ordering::Relaxed) == 0;
        let behind_max = if is_first { FIRST_READ_MAX } else { BEHIND_MAX };
        let newest = if head.position - applied > behind_max { head.position - FIRST_READ_MAX } else { applied };
        let start = newest.max(head.low_watermark);
        (start > applied).then_some(start)
    }

    fn check_lease(&self, head: &LogHead) -> Result<(), InvalidationLogError> {
        let ours_ms = i64::try_from(self.config.lease.as_millis()).unwrap_or(i64::MAX);
        if ours_ms <= head.lease_ms {
            return Ok(());
        }
        let conflict = InvalidationLogError::Lease { ours_ms, theirs_ms: head.lease_ms };
        self.lease_conflict.send_replace(Some(conflict.clone()));
        Err(conflict)
    }

    /// Whether the database's log does not continue the local copy, so that the head has to be read again.
    async fn is_of_another_log(
        &self,
        head: &LogHead,
        applied: &Token,
        nonce: Option<i64>,
    ) -> Result<bool, InvalidationLogError> {
        if head.epoch != applied.epoch {
            self.adopt(head, applied, nonce).await?;
            return Ok(true);
        }
        // The nonce tells whether the row at the applied position is still the row that was applied. At or below the
        // low watermark that row may be trimmed.
        let is_lost =
            head.position < applied.position || (applied.position > head.low_watermark && head.nonce != nonce);
        if is_lost {
            tracing::error!(
                applied = applied.position,
                head = head.position,
                "the database lost invalidations that were applied here; starting a new epoch"
            );
            self.replace_epoch(&applied.epoch).await?;
        }
        Ok(is_lost)
    }

    /// The rows above `applied`, up to `end`. None if the row at `applied` has changed since the head was read.
    async fn rows_after(
        &self,
        applied: i64,
        nonce: Option<i64>,
        head: &LogHead,
        end: i64,
    ) -> Result<Option<Vec<LogRow>>, InvalidationLogError> {
        // Reads the row at `applied` once more, unless it may be trimmed. Between the two reads the database may lose
        // rows and get others at their positions; applying those would hide the loss from every later check.
        let overlap = i64::from(applied > head.low_watermark && head.position > applied);
        let mut rows = self.table.rows(applied - overlap, end).await?;
        if overlap == 1 {
            if rows.first().is_none_or(|row| row.position != applied || Some(row.nonce) != nonce) {
                return Ok(None);
            }
            rows.remove(0);
        }
        Ok(Some(rows))
    }

    fn apply(&self, rows: &[LogRow], applied: i64, end: i64, head: &LogHead) {
        let is_gapless =
            rows.iter().map(|row| row.position).eq(applied + 1..=end) || mutant::on(Mutant::SequenceForACounter);
        self.erasures.lock().note(rows, self.clock.now());
        let mut copy = self.copy.write();
        copy.apply(rows, end, head.low_watermark, self.config.scopes_max);
        if !is_gapless {
            copy.raise_low_watermark(end);
            drop(copy);
            self.gaps.add(1);
            tracing::error!(
                applied,
                end,
                "invalidation log has a gap; everything read before its end counts as outdated"
            );
        }
    }
}
