//! What Redis knows of the invalidation log: for each epoch, how far the log had come, and which entry is there.
//!
//! Redis survives a restore of the log's database, and so do the documents in it. The witness shows that commits are lost.
//!
//! A cluster has three witnesses of each epoch, of which two are enough: one shard that is away must not hide a loss from
//! the documents of the others.

use std::time::Duration;

use fred::{
    interfaces::LuaInterface,
    types::{FromValue, Value},
};
use futures::future::join_all;

use super::{RedisTier, script};
use crate::cache::tiers::error::TierError;

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cache) struct LogMark {
    pub(in crate::cache) position: i64,
    /// None: not known.
    pub(in crate::cache) nonce: Option<i64>,
}

/// What Redis has of an epoch, the weakest sign of a loss first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cache) enum Witness {
    /// The log has had this entry.
    Of(LogMark),
    /// Another epoch has begun.
    Ended,
}

/// Position, nonce, and whether the epoch has ended.
type Fields = Vec<Option<String>>;

/// Parts of the keys of a cluster's witnesses. Their slots are in the middle of each third: 2731, 8192 and 13653.
const PLACES: [&str; 3] = ["ivh", "fjl", "drc"];

impl RedisTier {
    /// What Redis has of the epoch, the strongest sign of a loss last. A log that lacks any of it has lost it.
    pub(in crate::cache) async fn witnesses(&self, epoch: &str) -> Result<Vec<Witness>, TierError> {
        let found: Vec<Fields> = self.at_witnesses(script::WITNESS, epoch, Vec::new()).await?;
        let mut found: Vec<Witness> = found.iter().filter_map(Witness::of).collect();
        found.sort();
        found.dedup();
        Ok(found)
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
        let held: Vec<Option<Fields>> = self.at_witnesses(script::RAISE_WITNESS, epoch, values).await?;
        let held: Vec<Witness> = held.iter().flatten().filter_map(Witness::of).collect();
        // The lowest first: once it is known, the next attempt raises it. Only then do most stand as high as the highest.
        Ok(held.iter().find(|held| **held == Witness::Ended).or(held.iter().min()).copied())
    }

    /// Marks the epoch as one that another has followed. It stays marked.
    pub(in crate::cache) async fn end_witness(&self, epoch: &str, life: Duration) -> Result<(), TierError> {
        self.at_witnesses(script::END_WITNESS, epoch, vec![millis(life).into()]).await.map(|_ended: Vec<i64>| ())
    }

    /// Runs a script at the witness of an epoch, or in a cluster at its three witnesses. Fails unless most of them have
    /// answered: the two that stored a value and the two that answer have one in common, whichever node is away.
    async fn at_witnesses<T: FromValue>(
        &self,
        script: &'static str,
        epoch: &str,
        values: Vec<Value>,
    ) -> Result<Vec<T>, TierError> {
        let keys = self.witness_keys(epoch);
        let most = keys.len() / 2 + 1;
        let answers = join_all(keys.into_iter().map(async |key| {
            let (node, values) = (self.nodes.of(&key), values.clone());
            self.tell(node.as_deref(), async |client| client.eval(script, vec![key], values).await).await
        }));
        let (mut answered, mut failed) = (Vec::new(), None);
        for answer in answers.await {
            match answer {
                Ok(answer) => answered.push(answer),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if answered.len() < most => Err(error),
            _ => Ok(answered),
        }
    }

    fn witness_keys(&self, epoch: &str) -> Vec<String> {
        let key = format!("{}:log:{epoch}", self.prefix);
        match self.nodes.is_cluster() {
            true => PLACES.map(|place| format!("{key}:{{{place}}}")).to_vec(),
            false => vec![key],
        }
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

fn millis(life: Duration) -> String {
    life.as_millis().to_string()
}
