//! The Redis tier, and every call to fred.
//!
//! Redis is a plain value store that may be down, slow or wrong at any time. The start does not wait for it, a call
//! costs at most the timeout, and an open circuit costs nothing. Only reads and probes move the circuit breaker: a Redis
//! without memory refuses writes and still answers reads. Writes without rights have a circuit of their own (`writes`).
//!
//! The records of a user share one hash slot: `{prefix}:{<hash of the user>}:<data_hash>`, braces included. The key
//! `..:keys` beside them is an index of the records by expiry, so that dropping a user needs no scan. `{prefix}:log:<epoch>`
//! is a witness of the invalidation log.

mod client;
mod connection_errors;
mod examination;
mod nodes;
mod script;
mod subscriber;
mod tls;
mod url;
mod witness;
mod writes;

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, KeysInterface, LuaInterface, PubsubInterface},
    types::Value,
};
use sha2::{Digest, Sha256};

pub use examination::{Examined, RedisInfo, examine};
pub use subscriber::Subscriber;
pub(crate) use subscriber::SubscriberEvent;
pub(crate) use url::parameters_without_effect;
pub(in crate::cache) use witness::{LogMark, Witness};

use nodes::{Node, Nodes};
use writes::Writes;

use super::{encrypted_record, error::TierError, guard::TierGuard, record, tier_metrics::WriteOutcome};
use crate::{
    clock::Clock,
    config,
    fault::{FaultPoint, Faults},
    model::{CacheKey, Scope, Snapshot, Tier, UserId},
    privacy::{UserKey, UserKeys},
    telemetry::Meter,
};

/// A page blocks Redis for some hundred microseconds.
const KEYS_WALKED_AT_ONCE: u32 = 1000;
/// The bytes of a user id's SHA-256 in its keys: 128 bits do not collide by accident, and a record names its user.
const USER_HASH_BYTES: usize = 16;

/// Snapshots in Redis.
#[derive(Debug)]
pub struct RedisTier {
    nodes: Nodes,
    prefix: String,
    /// For invalidation notifications.
    channel: String,
    ttl: Duration,
    timeout: Duration,
    compress_above: usize,
    /// None: records are in clear.
    encryption: Option<Arc<UserKeys>>,
    clock: Clock,
    pub(in crate::cache) guard: TierGuard,
    writes: Writes,
    faults: Faults,
}

impl RedisTier {
    /// Starts to connect, and waits for nothing but the files that the settings name. Fails only for these and for a
    /// missing or malformed URL. Needs a tokio runtime.
    pub async fn connect(config: &config::RedisSettings, clock: Clock) -> Result<Self, TierError> {
        let nodes = Nodes::connect(config, clock.clone()).await?;
        let url = config.url.as_ref().map(config::Secret::expose).unwrap_or_default();
        let parameters = parameters_without_effect(url);
        if !parameters.is_empty() {
            tracing::warn!(?parameters, "redis.url has parameters that have no effect");
        }
        Ok(Self {
            nodes,
            prefix: config.prefix.clone(),
            channel: client::channel(config),
            ttl: config.ttl,
            timeout: config.timeout,
            compress_above: config.compress_above,
            encryption: None,
            guard: TierGuard::new(Tier::Redis, clock.clone()),
            writes: Writes::new(clock.clone()),
            faults: Faults::here(),
            clock,
        })
    }

    /// Records each lookup with `meter`.
    #[must_use]
    pub fn with_metrics(self, meter: &Meter) -> Self {
        Self { guard: self.guard.with_metrics(meter), ..self }
    }

    /// Encrypts records by their users' keys.
    #[must_use]
    pub fn encrypted_by(self, encryption: Option<Arc<UserKeys>>) -> Self {
        Self { encryption, ..self }
    }

    /// The stored snapshot, valid or not. Deletes unreadable values.
    pub async fn get(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        // Pinned here: passed by value, the future would be copied into each caller's.
        self.guard.lookup(pin!(self.look_up(key))).await
    }

    async fn look_up(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        let name = self.names(&key.user).record(key);
        let node = self.nodes.of(&name);
        let answer = self.ask(node.as_deref(), async |client| client.get::<Option<Bytes>, _>(&name).await).await;
        self.report(node.as_deref(), &answer);
        let found = match answer {
            Ok(Some(bytes)) => self.decoded(&bytes, key).await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if let Err(TierError::Garbage(_)) = found {
            // Best effort. Otherwise each lookup finds it again, and as a newer record it might never be replaced.
            let _ = self.ask(node.as_deref(), async |client| client.unlink::<i64, _>(&name).await).await;
        }
        found
    }

    async fn decoded(&self, bytes: &Bytes, key: &CacheKey) -> Result<Snapshot, TierError> {
        match &self.encryption {
            None => Ok(record::decode(bytes, key)?),
            Some(keys) => encrypted_record::from_redis(bytes, key, keys).await,
        }
    }

    /// Stores a snapshot until it expires, unless the stored one is newer, or complete where this one is partial. A stored
    /// one that was read below the position of the key's last invalidation counts as nothing. Encrypted if there is a key.
    /// One round trip.
    pub async fn put_by(
        &self,
        key: Option<&UserKey>,
        snapshot: &Snapshot,
        last_invalidation: i64,
    ) -> Result<(), TierError> {
        let left = (snapshot.expires_at - self.clock.utc()).to_std().unwrap_or_default();
        let life_ms = u64::try_from(left.min(self.ttl).as_millis()).unwrap_or(u64::MAX);
        if life_ms == 0 {
            return Ok(());
        }
        let names = self.names(&snapshot.key.user);
        let keys = vec![names.record(&snapshot.key), names.index()];
        let strategy = snapshot.key.strategy.map_or(0, crate::model::StrategyId::get);
        let record = match key {
            None => record::encode(snapshot, self.compress_above),
            Some(key) => encrypted_record::to_redis(snapshot, self.compress_above, key),
        };
        let arguments = vec![
            record.into(),
            life_ms.to_string().into(),
            format!("{strategy}:{}", snapshot.key.hash).into(),
            last_invalidation.to_string().into(),
        ];
        let written = match self.writes.begin() {
            Some(write) => {
                let written = self.run(script::PUT, keys, arguments).await.map(|_stored| ());
                write.end(&written);
                written
            }
            None => Err(TierError::Open),
        };
        self.guard.metrics.wrote(WriteOutcome::of(&written));
        written
    }

    /// Whether writes are skipped for lack of rights: the state of their circuit.
    pub(in crate::cache) fn writes_state(&self) -> &'static str {
        self.writes.state()
    }

    /// Drops a user's records; with a strategy, its records and those without a strategy. Ignores the scope's sections:
    /// a record is dropped as a whole. Returns how many.
    pub async fn remove(&self, scope: &Scope) -> Result<u64, TierError> {
        let names = self.names(&scope.user);
        let mut arguments = vec![Value::from(&names.base)];
        if let Some(strategy) = scope.strategy {
            arguments.extend(["0".into(), strategy.get().to_string().into()]);
        }
        self.run(script::REMOVE, vec![names.index()], arguments).await
    }

    /// Deletes all records of a user without the index: a Redis that runs out of memory may evict the index and keep the
    /// records. Walks all keys, so it is for purges only. Returns how many.
    pub async fn purge(&self, user: &UserId) -> Result<u64, TierError> {
        self.guard.admit()?;
        let erased = self.erase(&self.names(user).pattern()).await;
        erased.inspect_err(|error| self.guard.metrics.failed(error))
    }

    /// On every server that has keys now. Fails if slots moved meanwhile, and their keys with them.
    async fn erase(&self, pattern: &str) -> Result<u64, TierError> {
        let before = self.nodes.owners_now().await.ok_or_else(|| not_connected(None))?;
        let mut erased = 0;
        for node in self.nodes.all().ok_or_else(|| not_connected(None))? {
            erased += self.erase_at(&node, pattern).await?;
        }
        if self.nodes.owners_now().await != Some(before) {
            return Err(Error::new(ErrorKind::Cluster, "slots moved meanwhile").into());
        }
        Ok(erased)
    }

    async fn erase_at(&self, node: &Node, pattern: &str) -> Result<u64, TierError> {
        let (mut cursor, mut erased) = ("0".to_owned(), 0);
        loop {
            let page = async |client: &Client| client.scan_page(cursor, pattern, Some(KEYS_WALKED_AT_ONCE), None).await;
            let names: Vec<String>;
            (cursor, names) = self.ask(Some(node), page).await?;
            if !names.is_empty() {
                erased += self.ask(Some(node), async |client| client.unlink::<u64, _>(names).await).await?;
            }
            if cursor == "0" {
                return Ok(erased);
            }
        }
    }

    /// Sends a message to every [`Subscriber`], best effort.
    pub async fn publish(&self, message: String) -> Result<(), TierError> {
        let node = self.nodes.any();
        let publishing = async |client: &Client| client.publish::<i64, _, _>(self.channel.as_str(), message).await;
        self.tell(node.as_deref(), publishing).await.map(|_receivers| ())
    }

    /// Looks after the connections, and probes an open circuit if the pause is over.
    pub async fn probe(&self) {
        self.nodes.refresh().await;
        if !self.guard.breaker.start_probe() {
            return;
        }
        let (name, node) = self.nodes.probed(&self.prefix);
        // What requests do: a PING is answered also by a Redis that refuses every key, as a cluster without a master may.
        let answer = self.ask(node.as_deref(), async |client| client.get::<Option<Bytes>, _>(&name).await).await;
        self.guard.report(&answer);
    }

    /// Whether a node of a cluster is left out, as the state of a circuit.
    pub(in crate::cache) fn nodes_state(&self) -> &'static str {
        if self.nodes.are_all_connected() { "closed" } else { "open" }
    }

    /// Whether the first connection succeeds within `at_most`. Nothing depends on it; a start that waits some
    /// milliseconds finds what other instances have stored.
    pub async fn connected_within(&self, at_most: Duration) -> bool {
        tokio::time::timeout(at_most, self.nodes.connected()).await.is_ok()
    }

    /// Why there is no connection.
    #[must_use]
    pub fn not_connected(&self) -> TierError {
        not_connected(self.nodes.any().as_deref())
    }

    /// Closes the connections. Later calls fail.
    pub async fn close(&self) {
        self.nodes.close().await;
    }

    /// Runs a script that writes; it obeys the circuit breaker without moving it.
    async fn run(&self, script: &'static str, keys: Vec<String>, arguments: Vec<Value>) -> Result<u64, TierError> {
        self.guard.admit()?;
        let node = keys.first().and_then(|key| self.nodes.of(key));
        let answer = self.ask(node.as_deref(), async |client| client.eval(script, keys, arguments).await).await;
        answer.inspect_err(|error| self.guard.metrics.failed(error))
    }

    /// Runs a command that accompanies invalidations. A Redis that hangs must not cost each of them the timeout until a
    /// read opens the circuit. One that refuses may still answer reads.
    async fn tell<T>(
        &self,
        node: Option<&Node>,
        command: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, TierError> {
        self.guard.admit()?;
        let answer = self.ask(node, command).await;
        if matches!(answer, Ok(_) | Err(TierError::Timeout)) {
            self.report(node, &answer);
        }
        answer.inspect_err(|error| self.guard.metrics.failed(error))
    }

    /// Runs one command with our own timeout: fred's covers neither every command (eval) nor the wait for a connection.
    async fn ask<T>(
        &self,
        node: Option<&Node>,
        command: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, TierError> {
        let client = node.map(|node| &node.client).filter(|client| client.is_connected());
        let client = client.ok_or_else(|| not_connected(node))?;
        // Boxed: fred's future has 20 KB, also as a part of another future.
        let command = self.faults.through(FaultPoint::Redis, Box::pin(command(client)));
        let answer = tokio::time::timeout(self.timeout, command).await.map_err(|_| TierError::Timeout)?;
        if answer.as_ref().is_err_and(Error::is_moved) {
            self.nodes.have_moved();
        }
        Ok(answer?)
    }

    /// Moves the circuit breaker. What one node of a cluster does not answer costs its share of the documents, not the tier.
    fn report<T>(&self, node: Option<&Node>, answer: &Result<T, TierError>) {
        let is_of_the_node = match answer {
            Err(TierError::Timeout) => true,
            Err(TierError::Redis(error)) => {
                matches!(error.kind(), ErrorKind::IO | ErrorKind::Canceled) || error.is_moved() || error.is_ask()
            }
            _ => false,
        };
        if !(is_of_the_node && self.nodes.has_others(node)) {
            self.guard.report(answer);
        }
    }

    fn names(&self, user: &UserId) -> Names {
        let digest = Sha256::digest(user.as_str());
        Names { base: format!("{}:{{{}}}:", self.prefix, hex::encode(&digest[..USER_HASH_BYTES])) }
    }
}

/// None: no node is known to have the key.
fn not_connected(node: Option<&Node>) -> TierError {
    let unknown = || Error::new(ErrorKind::IO, "not connected: the slots of the cluster are not known yet");
    node.map_or_else(unknown, |node| node.errors.not_connected()).into()
}

/// The keys of a user.
struct Names {
    /// Their common prefix, colon included.
    base: String,
}

impl Names {
    fn record(&self, key: &CacheKey) -> String {
        format!("{}{}", self.base, key.hash)
    }

    fn index(&self) -> String {
        format!("{}keys", self.base)
    }

    /// Matches all of them and no other key. Escapes the special characters of the configured prefix.
    fn pattern(&self) -> String {
        let mut pattern = String::new();
        for c in self.base.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('*');
        pattern
    }
}

#[cfg(test)]
mod tests;
