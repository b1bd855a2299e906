//! What Redis knows of the invalidation log: for each epoch, how far the log had come, and which entry is there.
//!
//! Redis survives a restore of the log's database, and so do the documents in it. The witness tells that commits are lost.

use std::time::Duration;

use fred::{interfaces::LuaInterface, types::Value};

use super::{RedisTier, script};
use crate::cache::tiers::error::TierError;

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct LogMark {
    pub(in crate::cache) position: i64,
    /// None: not known.
    pub(in crate::cache) nonce: Option<i64>,
}

/// What Redis has of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Witness {
    /// The log has had this entry.
    Of(LogMark),
    /// Another epoch has begun.
    Ended,
}

/// Position, nonce, and whether the epoch has ended.
type Fields = Vec<Option<String>>;

impl RedisTier {
    pub(in crate::cache) async fn witness(&self, epoch: &str) -> Result<Option<Witness>, TierError> {
        let reading = self.client.eval::<Fields, _, _, _>(script::WITNESS, vec![self.witness_key(epoch)], no_values());
        Ok(Witness::of(&self.tell(Box::pin(reading)).await?))
    }

    /// Raises the epoch's witness to `mark` and lets it live for `life`. Changes nothing, and returns what stands there, if
    /// that is neither lower nor `known` to be an entry of this log.
    pub(in crate::cache) async fn raise_witness(
        &self,
        epoch: &str,
        mark: LogMark,
        known: Option<LogMark>,
        life: Duration,
    ) -> Result<Option<Witness>, TierError> {
        let text = |nonce: Option<i64>| nonce.map(|nonce| nonce.to_string()).unwrap_or_default();
        let values: Vec<Value> = vec![
            mark.position.to_string().into(),
            text(mark.nonce).into(),
            known.map(|known| known.position.to_string()).unwrap_or_default().into(),
            text(known.and_then(|known| known.nonce)).into(),
            millis(life).into(),
        ];
        let raising =
            self.client.eval::<Option<Fields>, _, _, _>(script::RAISE_WITNESS, vec![self.witness_key(epoch)], values);
        Ok(self.tell(Box::pin(raising)).await?.as_ref().and_then(Witness::of))
    }

    /// Marks the epoch as one that another has followed. It stays marked.
    pub(in crate::cache) async fn end_witness(&self, epoch: &str, life: Duration) -> Result<(), TierError> {
        let values: Vec<Value> = vec![millis(life).into()];
        let ending = self.client.eval::<i64, _, _, _>(script::END_WITNESS, vec![self.witness_key(epoch)], values);
        self.tell(Box::pin(ending)).await.map(|_ended| ())
    }

    fn witness_key(&self, epoch: &str) -> String {
        format!("{}:log:{epoch}", self.prefix)
    }
}

impl Witness {
    fn of(fields: &Fields) -> Option<Self> {
        let number = |index: usize| fields.get(index)?.as_ref()?.parse::<i64>().ok();
        if fields.get(2).is_some_and(Option::is_some) {
            return Some(Self::Ended);
        }
        Some(Self::Of(LogMark { position: number(0)?, nonce: number(1) }))
    }
}

fn no_values() -> Vec<Value> {
    Vec::new()
}

fn millis(life: Duration) -> String {
    life.as_millis().to_string()
}
