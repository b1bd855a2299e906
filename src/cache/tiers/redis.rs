//! The Redis tier, and every call that we make to fred.
//!
//! Redis is a plain value store that may be down, slow or wrong at any time: it is never waited for
//! at start, a call costs at most the timeout, and once the breaker is open nothing. Reads and probes
//! move the breaker, writes only obey it: a Redis without memory refuses writes and still answers reads.
//!
//! A user's records share one hash slot: `{prefix}:{<hash of the user>}:<data_hash>`, braces included,
//! and beside them `..:keys`, an index of the records by expiry, so that a user can be dropped without a scan.

mod client;
mod examination;
pub mod record;
mod script;
mod subscriber;

use std::{fmt::Write as _, future::Future, time::Duration};

use bytes::Bytes;
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, KeysInterface, LuaInterface, PubsubInterface},
    types::{ConnectHandle, Value},
};
use sha2::{Digest, Sha256};

pub use examination::{Examined, examine};
pub use subscriber::Subscriber;
pub(crate) use subscriber::SubscriberEvent;

use super::{
    error::TierError,
    tier_metrics::{TierMetrics, WriteOutcome},
};
use crate::{
    circuit_breaker::{CircuitBreaker, Probing},
    clock::Clock,
    config,
    fault::{Call, Faults},
    model::{CacheKey, Scope, Snapshot, Tier, UserId},
    proto::v1::TierStats,
    sync::Mutex,
    telemetry::Meter,
};

/// Few, because each may cost a request the whole timeout.
const BREAKER_FAILURES: u32 = 3;
/// Between probes: recovery is noticed well within 3 s.
const BREAKER_PAUSE: Duration = Duration::from_millis(500);
/// Redis serves nobody else for some hundred microseconds.
const KEYS_WALKED_AT_ONCE: u32 = 1000;
/// How much of a user id's SHA-256 stands in its keys: 128 bits do not collide by accident, and a
/// record names its user anyway.
const USER_HASH_BYTES: usize = 16;

/// Snapshots in Redis.
#[derive(Debug)]
pub struct RedisTier {
    client: Client,
    /// fred's connection task; it ends only on errors that fred holds to be final.
    connection: Mutex<ConnectHandle>,
    prefix: String,
    /// What instances tell each other on.
    channel: String,
    ttl: Duration,
    timeout: Duration,
    compress_above: usize,
    clock: Clock,
    breaker: CircuitBreaker,
    metrics: TierMetrics,
    faults: Faults,
}

impl RedisTier {
    /// Begins to connect, without waiting for it. Fails only if there is no URL, or one that cannot be read.
    /// Must be called within a tokio runtime.
    pub fn connect(config: &config::Redis, clock: Clock) -> Result<Self, TierError> {
        let url = config.url.as_ref().ok_or_else(|| Error::new(ErrorKind::Config, "no Redis URL"))?;
        let client = client::build(url.expose(), config.timeout, client::EVENTS_UNHEARD)?;
        Ok(Self {
            connection: Mutex::new(client.connect()),
            client,
            prefix: config.prefix.clone(),
            channel: client::channel(config),
            ttl: config.ttl,
            timeout: config.timeout,
            compress_above: config.compress_above,
            breaker: CircuitBreaker::new(
                "redis",
                Probing::InBackground,
                BREAKER_FAILURES,
                BREAKER_PAUSE,
                clock.clone(),
            ),
            metrics: TierMetrics::default(),
            faults: Faults::here(),
            clock,
        })
    }

    /// The same, and each look-up is recorded.
    #[must_use]
    pub fn measured(self, meter: &Meter) -> Self {
        Self { metrics: TierMetrics::measured(Tier::Redis, meter), ..self }
    }

    /// What is stored under a key, whatever its fences say. Garbage is deleted on the way.
    pub async fn get(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        if !self.breaker.is_closed() {
            return Err(TierError::Open);
        }
        let began = self.clock.now();
        let found = self.look_up(key).await;
        self.metrics.looked_up(&found, self.clock.now().since(began));
        found
    }

    async fn look_up(&self, key: &CacheKey) -> Result<Option<Snapshot>, TierError> {
        let name = self.names(&key.user).record(key);
        let answer = self.ask(self.client.get::<Option<Bytes>, _>(&name)).await;
        TierError::report(&answer, &self.breaker);
        let found = match answer {
            Ok(Some(bytes)) => record::decode(&bytes, key).map(Some).map_err(TierError::from),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if let Err(TierError::Garbage(_)) = found {
            // Best effort: it would be found again, and as the newer one it might never be replaced.
            let _ = self.ask(self.client.unlink::<i64, _>(&name)).await;
        }
        found
    }

    /// Stores a snapshot for what is left of its life, unless what is there is newer, or complete where
    /// this one is not. One round trip.
    pub async fn put(&self, snapshot: &Snapshot) -> Result<(), TierError> {
        let left = (snapshot.expires_at - self.clock.utc()).to_std().unwrap_or_default();
        let life_ms = u64::try_from(left.min(self.ttl).as_millis()).unwrap_or(u64::MAX);
        if life_ms == 0 {
            return Ok(());
        }
        let names = self.names(&snapshot.key.user);
        let keys = vec![names.record(&snapshot.key), names.index()];
        let strategy = snapshot.key.strategy.map_or(0, crate::model::StrategyId::get);
        let arguments = vec![
            record::encode(snapshot, self.compress_above).into(),
            life_ms.to_string().into(),
            format!("{strategy}:{}", snapshot.key.hash).into(),
        ];
        let written = self.run(script::PUT, keys, arguments).await.map(|_stored| ());
        self.metrics.wrote(WriteOutcome::of(&written));
        written
    }

    /// Drops a user's records; with a strategy, that strategy's and those without one. Returns how many.
    /// The scope's sections are not looked at: records are dropped as a whole.
    pub async fn remove(&self, scope: &Scope) -> Result<u64, TierError> {
        let names = self.names(&scope.user);
        let mut arguments = vec![Value::from(&names.base)];
        if let Some(strategy) = scope.strategy {
            arguments.extend(["0".into(), strategy.get().to_string().into()]);
        }
        self.run(script::REMOVE, vec![names.index()], arguments).await
    }

    /// Erases all records of a user, whatever its index says: a Redis that runs out of memory may evict
    /// the index and keep the records. Walks all keys, so it is for purges only. Returns how many it erased.
    pub async fn purge(&self, user: &UserId) -> Result<u64, TierError> {
        if !self.breaker.is_closed() {
            return Err(TierError::Open);
        }
        let erased = self.erase(&self.names(user).pattern()).await;
        erased.inspect_err(|error| self.metrics.failed(error))
    }

    async fn erase(&self, pattern: &str) -> Result<u64, TierError> {
        let (mut cursor, mut erased) = ("0".to_owned(), 0);
        loop {
            let page = self.client.scan_page(cursor, pattern, Some(KEYS_WALKED_AT_ONCE), None);
            let names: Vec<String>;
            (cursor, names) = self.ask(Box::pin(page)).await?;
            if !names.is_empty() {
                erased += self.ask(Box::pin(self.client.unlink::<u64, _>(names))).await?;
            }
            if cursor == "0" {
                return Ok(erased);
            }
        }
    }

    /// Tells every [`Subscriber`] something, best effort.
    pub async fn publish(&self, message: String) -> Result<(), TierError> {
        if !self.breaker.is_closed() {
            return Err(TierError::Open);
        }
        let answer = self.ask(Box::pin(self.client.publish::<i64, _, _>(self.channel.as_str(), message))).await;
        // A Redis that hangs must not cost every invalidation the timeout until a read finds out. One
        // that refuses may still be read.
        if matches!(answer, Ok(_) | Err(TierError::Timeout)) {
            TierError::report(&answer, &self.breaker);
        }
        answer.map(|_receivers| ()).inspect_err(|error| self.metrics.failed(error))
    }

    /// Finds out whether Redis answers again, if it is time to. Called periodically.
    pub async fn probe(&self) {
        if !self.breaker.start_probe() {
            return;
        }
        self.revive();
        let answer = self.ask(self.client.ping::<String>(None)).await;
        TierError::report(&answer, &self.breaker);
    }

    /// Whether the first connection came about within `at_most`. For a start that would rather wait
    /// some milliseconds than miss what another instance has stored; nothing depends on it.
    pub async fn connected_within(&self, at_most: Duration) -> bool {
        tokio::time::timeout(at_most, self.client.wait_for_connect()).await.is_ok_and(|connected| connected.is_ok())
    }

    /// This tier's statistics. Records are not counted: that would need a scan.
    #[must_use]
    pub fn stats(&self) -> TierStats {
        TierStats { breaker_state: self.breaker_state().to_owned(), ..self.metrics.stats(Tier::Redis) }
    }

    /// `closed`, `open` or `half_open`.
    #[must_use]
    pub fn breaker_state(&self) -> &'static str {
        self.breaker.state()
    }

    /// The counters, for a caller that refuses what it got.
    #[must_use]
    pub fn metrics(&self) -> &TierMetrics {
        &self.metrics
    }

    /// Ends the connection. Calls made later fail.
    pub async fn close(&self) {
        // A Redis that hangs must not hold up the shutdown.
        let _ = tokio::time::timeout(client::CONNECT_TIMEOUT, self.client.quit()).await;
        self.connection.lock().abort();
    }

    /// A script that writes: it obeys the breaker without moving it.
    async fn run(&self, script: &'static str, keys: Vec<String>, arguments: Vec<Value>) -> Result<u64, TierError> {
        if !self.breaker.is_closed() {
            return Err(TierError::Open);
        }
        // Boxed: fred's future takes 20 KB of whatever it is kept in.
        let answer = self.ask(Box::pin(self.client.eval(script, keys, arguments))).await;
        answer.inspect_err(|error| self.metrics.failed(error))
    }

    /// One command, with our own timeout: fred's does not cover every command (eval), nor the time
    /// that a command waits for a connection.
    async fn ask<T>(&self, command: impl Future<Output = Result<T, Error>>) -> Result<T, TierError> {
        if !self.client.is_connected() {
            return Err(Error::new(ErrorKind::IO, "not connected").into());
        }
        let command = self.faults.through(Call::Redis, command);
        Ok(tokio::time::timeout(self.timeout, command).await.map_err(|_| TierError::Timeout)??)
    }

    /// Starts fred's connection task again if it has given up.
    fn revive(&self) {
        let mut connection = self.connection.lock();
        if connection.is_finished() {
            *connection = self.client.connect();
        }
    }

    fn names(&self, user: &UserId) -> Names {
        let digest = Sha256::digest(user.as_str());
        let mut base = format!("{}:{{", self.prefix);
        for byte in &digest[..USER_HASH_BYTES] {
            write!(base, "{byte:02x}").expect("writing to a String cannot fail");
        }
        base.push_str("}:");
        Names { base }
    }
}

/// The names of a user's keys.
struct Names {
    /// What they all begin with, colon included.
    base: String,
}

impl Names {
    fn record(&self, key: &CacheKey) -> String {
        format!("{}{}", self.base, key.hash)
    }

    fn index(&self) -> String {
        format!("{}keys", self.base)
    }

    /// What all of them match, and no other key. A prefix may hold what a pattern gives a meaning to.
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
