//! The three tiers that hold snapshots, behind one handle: look up, keep, store, drop and purge.
//!
//! The tiers are plain value stores. A tier that fails is a miss. Nothing that a tier loses, replays or writes late can
//! make an answer wrong, because the invalidation log decides at each read which sections are valid.
//!
//! Invariant: storing and purging exclude each other, so that no copy outlives a purge because it was stored late.

pub mod access_counts;
pub mod database;
mod encrypted_record;
pub(crate) mod error;
pub(super) mod fallback;
pub(super) mod guard;
pub(super) mod lookup;
pub mod memory;
pub mod record;
pub mod redis;
mod store;
pub mod tier_metrics;

use std::sync::Arc;

use tokio::sync::{RwLock, Semaphore};

use self::{
    access_counts::AccessCounts, database::DatabaseTier, error::TierError, memory::MemoryTier, redis::RedisTier,
    tier_metrics::TierMetrics,
};
use super::{
    counters::{Counter, count},
    invalidation_log::{InvalidationLog, LogValidity, witness::RedisWitness},
};
use crate::{
    clock::Clock,
    config::{self, Config},
    fault::Faults,
    model::Tier,
    privacy::UserKeys,
    proto::v1::TierStats,
    sync::TaskTracker,
    telemetry::Meter,
};

/// Background writes at once; beyond it a document is not stored, which costs a load later.
const WRITES_MAX: usize = 256;

/// The tiers outside the process, and how what they store is encrypted; none: it is in clear.
pub(super) struct RemoteTiers {
    pub(super) redis: Option<RedisTier>,
    pub(super) database: DatabaseTier,
    pub(super) encryption: Option<Arc<UserKeys>>,
}

/// Memory, Redis, the cache table and the access counts.
#[derive(Debug)]
pub(crate) struct Tiers {
    pub(super) memory: MemoryTier,
    pub(super) memory_metrics: TierMetrics,
    pub(super) redis: Option<Arc<RedisTier>>,
    pub(super) database: DatabaseTier,
    pub(super) access_counts: AccessCounts,
    /// Snapshots that an invalidation had outdated.
    pub(super) superseded: Counter,
    memory_config: config::MemorySettings,
    database_config: config::DatabaseSettings,
    /// None: what is stored is in clear.
    pub(super) encryption: Option<Arc<UserKeys>>,
    log: Arc<InvalidationLog>,
    /// Background writes share it, a purge holds it alone.
    storing: RwLock<()>,
    writes: Arc<Semaphore>,
    tasks: TaskTracker,
    clock: Clock,
    faults: Faults,
}

impl Tiers {
    pub(super) fn new(
        config: &Config,
        RemoteTiers { redis, database, encryption }: RemoteTiers,
        log: Arc<InvalidationLog>,
        meter: &Meter,
        tasks: TaskTracker,
        clock: Clock,
    ) -> Self {
        let redis = redis.map(|redis| Arc::new(redis.with_metrics(meter).encrypted_by(encryption.clone())));
        if let Some(redis) = &redis {
            log.witness_by(RedisWitness::new(Arc::clone(redis), config, clock.clone()));
        }
        let json_share = if config.http.listen.is_some() { config.http.json_share } else { 0.0 };
        Self {
            memory: MemoryTier::with_json(&config.memory, json_share),
            memory_metrics: TierMetrics::new(Tier::Memory, meter),
            redis,
            database: database.with_metrics(meter).encrypted_by(encryption.clone()),
            encryption,
            access_counts: AccessCounts::new(config.database.access_counts_max, clock.clone()),
            superseded: Counter::default(),
            memory_config: config.memory.clone(),
            database_config: config.database.clone(),
            log,
            storing: RwLock::new(()),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            tasks,
            clock,
            faults: Faults::here(),
        }
    }

    /// Tells the other instances how far this one has applied the log. Best effort, within the tier's timeout.
    pub(crate) async fn notify(&self) {
        if let Some(redis) = &self.redis {
            // The tier counts its failure; the other instances also poll the log.
            let _ = redis.publish(self.log.position().to_string()).await;
        }
    }

    /// Deletes rows that are too old even for the stale-if-error fallback. Returns how many.
    pub(crate) async fn sweep(&self) -> Result<u64, TierError> {
        self.database.sweep(self.database_config.stale_if_error, self.database_config.sweep_batch).await
    }

    /// Writes the access counts since the last flush.
    pub(crate) async fn flush_access_counts(&self) {
        if let Err(error) = self.access_counts.flush(&self.database).await {
            tracing::warn!(%error, "access counts not written; they are kept for the next flush");
        }
    }

    /// Probes the tiers whose circuit is open, so that no request has to, and keeps the log's witness in Redis.
    pub(crate) async fn probe(&self) {
        let redis = async {
            if let Some(redis) = &self.redis {
                redis.probe().await;
                self.log.keep_witness().await;
            }
        };
        tokio::join!(redis, self.database.probe(), self.probe_keys());
    }

    /// Drops all keys from memory while erasures may be unknown here.
    async fn probe_keys(&self) {
        let Some(keys) = &self.encryption else { return };
        if self.log.lease_validity() != LogValidity::Verified {
            keys.forget_all();
        }
        keys.probe().await;
    }

    pub(super) async fn close(&self) {
        self.flush_access_counts().await;
        if let Some(redis) = &self.redis {
            redis.close().await;
        }
    }

    pub(super) fn stats(&self) -> Vec<TierStats> {
        let memory = TierStats {
            entries: Some(count(self.memory.entries())),
            bytes: Some(count(self.memory.bytes())),
            evictions: Some(count(self.memory.evictions())),
            ..self.memory_metrics.stats(Tier::Memory)
        };
        let redis = match &self.redis {
            Some(redis) => redis.guard.stats(),
            None => TierStats { tier: Tier::Redis.name().to_owned(), ..TierStats::default() },
        };
        vec![memory, redis, self.database.guard.stats()]
    }
}
