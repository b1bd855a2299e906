//! Witnesses outside the log's database: what shows that it has lost commits, though no instance lives that had applied
//! them. A restore while the service is stopped is such a loss, and Redis keeps documents of the lost time.
//!
//! Redis has a witness of each epoch. It is raised before an invalidation is acknowledged, and before a document is stored
//! in Redis at that position. It is marked as ended before another epoch begins. A log that lacks what the witness names
//! has lost it, and another epoch begins.
//!
//! Order: a witness is read before the head that it is compared with. The other way round the log could have moved on.
//!
//! Redis is no condition: what it has lost, or what could not be written to it, shows nothing.

use std::{sync::Arc, time::Duration};

use super::{InvalidationLog, InvalidationLogError, RETENTION_MARGIN};
use crate::{
    cache::tiers::redis::{LogMark, RedisTier, Witness},
    clock::{Clock, Moment},
    config::Config,
    model::Token,
    sync::{Mutex, time::timeout},
};

/// Comparisons while epochs begin.
const COMPARISONS: u32 = 3;
/// Attempts to raise a witness that other instances raise at the same time.
const RAISES: u32 = 4;
/// A witness is written again after this long: Redis may have lost it.
const WRITTEN_EVERY: Duration = Duration::from_secs(60);

/// The witnesses in Redis.
#[derive(Debug)]
pub(in crate::cache) struct RedisWitness {
    redis: Arc<RedisTier>,
    /// As long as the log keeps its entries, and every document its validity.
    life: Duration,
    clock: Clock,
    state: Mutex<WitnessState>,
    /// One comparison at a time.
    comparing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct WitnessState {
    /// The epoch whose witness was compared with the log.
    compared: Option<Arc<str>>,
    /// Another instance has raised the witness to an entry that is not applied here.
    is_ahead: bool,
    raised: Option<RaisedMark>,
}

/// How far the witness of an epoch is raised.
#[derive(Clone, Debug)]
struct RaisedMark {
    epoch: Arc<str>,
    position: i64,
    /// What was found, or written, and is an entry of this log.
    known: Option<LogMark>,
    at: Moment,
}

impl RedisWitness {
    pub(in crate::cache) fn new(redis: Arc<RedisTier>, config: &Config, clock: Clock) -> Self {
        let life = config.database.stale_if_error.max(config.redis.ttl) + RETENTION_MARGIN;
        Self { redis, life, clock, state: Mutex::default(), comparing: tokio::sync::Mutex::default() }
    }

    fn has_compared(&self, epoch: &str) -> bool {
        self.state.lock().compared.as_deref() == Some(epoch)
    }

    fn raised(&self, epoch: &str) -> Option<RaisedMark> {
        self.state.lock().raised.clone().filter(|raised| *raised.epoch == *epoch)
    }

    fn has_raised(&self, epoch: &str, position: i64) -> bool {
        let now = self.clock.now();
        self.raised(epoch).is_some_and(|raised| raised.position >= position && now < raised.at.after(WRITTEN_EVERY))
    }

    fn set_raised(&self, epoch: Arc<str>, position: i64, known: Option<LogMark>) {
        self.state.lock().raised = Some(RaisedMark { epoch, position, known, at: self.clock.now() });
    }
}

impl InvalidationLog {
    /// From now on the log has witnesses.
    pub(in crate::cache) fn witness_by(&self, witness: RedisWitness) {
        // Called once, when the cache is made.
        let _ = self.witness.set(witness);
    }

    /// The epoch whose documents in Redis can be judged: its witness was compared with the log, now or before. None if Redis
    /// does not answer, or if the log has to be read again. While it is being compared, too: no request waits for another.
    pub(in crate::cache) async fn witnessed_epoch(&self) -> Option<Arc<str>> {
        let witness = self.witness.get()?;
        let epoch = self.position().epoch;
        if witness.has_compared(&epoch) {
            return Some(epoch);
        }
        let _comparing = witness.comparing.try_lock().ok()?;
        self.compare_witness(witness).await
    }

    /// Compares the witness if that is due, and raises it to what is applied here.
    pub(crate) async fn keep_witness(&self) {
        let Some(witness) = self.witness.get() else { return };
        let Token { epoch, position } = self.position();
        let is_due = !witness.has_compared(&epoch) || std::mem::take(&mut witness.state.lock().is_ahead);
        if is_due {
            let _comparing = witness.comparing.lock().await;
            self.compare_witness(witness).await;
        }
        self.raise_witness(position).await;
    }

    async fn compare_witness(&self, witness: &RedisWitness) -> Option<Arc<str>> {
        for _ in 0..COMPARISONS {
            let Token { epoch, .. } = self.position();
            if epoch.is_empty() {
                return None;
            }
            // Order: first the witness, then the head.
            let held = witness.redis.witnesses(&epoch).await.ok()?;
            let mut has_all = true;
            for one in &held {
                has_all = has_all && self.is_in_log(&epoch, *one).await.ok()?;
            }
            if has_all {
                if let Some(Witness::Of(mark)) = held.last().copied() {
                    witness.set_raised(Arc::clone(&epoch), mark.position, Some(mark));
                }
                witness.state.lock().compared = Some(Arc::clone(&epoch));
                return Some(epoch);
            }
            self.catch_up().await.ok()?;
        }
        None
    }

    /// Raises the witness to what is applied here, at least up to `position`. False if the witness may not stand as high
    /// as that. Best effort, within the tier's timeout.
    pub(in crate::cache) async fn raise_witness(&self, position: i64) -> bool {
        let Some(witness) = self.witness.get() else { return true };
        let (epoch, mark) = {
            let copy = self.copy.read();
            (Arc::clone(&copy.epoch), LogMark { position: copy.applied, nonce: copy.nonce })
        };
        if epoch.is_empty() || mark.position < position {
            return false;
        }
        if witness.has_raised(&epoch, position) {
            return true;
        }
        let mut known = witness.raised(&epoch).and_then(|raised| raised.known);
        for _ in 0..RAISES {
            let held = match witness.redis.raise_witness(&epoch, mark, known, witness.life).await {
                Ok(Some(Witness::Of(held))) => held,
                Ok(None) => {
                    witness.set_raised(epoch, mark.position, Some(mark));
                    return true;
                }
                Ok(Some(Witness::Ended)) => {
                    witness.state.lock().is_ahead = true;
                    return false;
                }
                Err(_) => return false,
            };
            if held.position > mark.position {
                // Another instance was faster, or the log has lost what that one had seen.
                witness.state.lock().is_ahead = true;
                witness.set_raised(epoch, held.position, known);
                return true;
            }
            // Order: before it is overwritten. It may be the only sign of a loss.
            if !self.has_applied(&epoch, held).await {
                return false;
            }
            if held.position == mark.position {
                witness.set_raised(epoch, held.position, Some(held));
                return true;
            }
            known = Some(held);
        }
        false
    }

    /// Whether an entry that a witness names is the one that was applied here.
    async fn has_applied(&self, epoch: &str, mark: LogMark) -> bool {
        let applied = {
            let copy = self.copy.read();
            if *copy.epoch != *epoch {
                return false;
            }
            if copy.applied == mark.position { copy.nonce } else { copy.recent.nonce_at(mark.position) }
        };
        let contains = match (applied, mark.nonce) {
            (Some(ours), Some(theirs)) if ours == theirs => Ok(true),
            (Some(_), Some(_)) => self.has_lost(epoch, mark.position).await.map(|()| false),
            _ => self.is_in_log(epoch, Witness::Of(mark)).await,
        };
        contains.unwrap_or_default()
    }

    /// Reads the head, and begins another epoch if it contradicts a witness of `epoch` that was read before. Whether the log
    /// is of this epoch and has what the witness names.
    async fn is_in_log(&self, epoch: &str, witness: Witness) -> Result<bool, InvalidationLogError> {
        let (position, nonce) = match witness {
            Witness::Of(LogMark { position, nonce }) => (position, nonce),
            Witness::Ended => (0, None),
        };
        let head = timeout(self.timeout, self.table.head(position)).await;
        let head = head.map_err(|_elapsed| InvalidationLogError::Timeout)??;
        if *head.epoch != *epoch {
            return Ok(false);
        }
        if witness == Witness::Ended {
            tracing::error!("the invalidation log is of an epoch that has ended: its database has lost commits");
            self.replace_epoch(epoch).await?;
            return Ok(false);
        }
        // At or below the low watermark the row may be trimmed.
        let is_another = position > head.low_watermark && nonce.is_some() && head.nonce != nonce;
        if head.position < position || is_another {
            self.has_lost(epoch, position).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Begins another epoch, because the log lacks an entry of `epoch` that a witness outside of its database has seen.
    pub(in crate::cache) async fn has_lost(&self, epoch: &str, position: i64) -> Result<(), InvalidationLogError> {
        tracing::error!(
            position,
            "the database lost invalidations that were acknowledged before this instance read them; starting a new epoch"
        );
        Ok(self.replace_epoch(epoch).await?)
    }

    /// Begins another epoch if the log does not reach so far as another database has seen it before this call.
    pub(crate) async fn compare_with(&self, seen: &Token) -> Result<(), InvalidationLogError> {
        let mark = LogMark { position: seen.position, nonce: None };
        if !self.is_in_log(&seen.epoch, Witness::Of(mark)).await? {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Whether Redis says that another epoch has followed this one.
    pub(super) async fn has_ended(&self, epoch: &str) -> bool {
        let Some(witness) = self.witness.get() else { return false };
        let found = self.while_reading(witness.redis.witnesses(epoch)).await;
        matches!(found, Some(Ok(found)) if found.contains(&Witness::Ended))
    }

    /// Marks the epoch as ended, where Redis can be reached.
    pub(super) async fn end_witness(&self, epoch: &str) {
        if let Some(witness) = self.witness.get().filter(|_| !epoch.is_empty()) {
            // The tier counts its failure. Without the mark a restore to before the next epoch is not noticed.
            let _ = self.while_reading(witness.redis.end_witness(epoch, witness.life)).await;
        }
    }

    /// A part of the time for a page of the log at most: a Redis that hangs must not keep the log from being read.
    async fn while_reading<T>(&self, command: impl Future<Output = T>) -> Option<T> {
        timeout(self.timeout / 4, command).await.ok()
    }
}
