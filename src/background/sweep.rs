//! Deletes what is too old to be of use: rows, AI responses, leases of crashed instances, log entries.

use std::sync::Arc;

use sea_orm::sea_query::Expr;

use crate::{
    aggregate::Aggregator,
    cache::{
        invalidation_log::{InvalidationLog, RETENTION_MARGIN},
        tiers::Tiers,
    },
    config,
    lease::{Claim, Leases, SharedWork},
};

#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) tiers: Arc<Tiers>,
    pub(super) aggregator: Arc<Aggregator>,
    pub(super) leases: Arc<Leases>,
    pub(super) log: Arc<InvalidationLog>,
    pub(super) config: config::DatabaseSettings,
}

impl Sweep {
    pub(super) async fn run(&self) {
        match self.tiers.sweep().await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "swept expired rows"),
            Err(error) => tracing::warn!(%error, "sweep of expired rows failed; the next sweep retries"),
        }
        if let Err(error) = self.aggregator.ai().sweep_responses(self.config.sweep_batch).await {
            tracing::warn!(%error, "sweep of unused AI responses failed; the next sweep retries");
        }
        self.trim_log().await;
    }

    /// Deletes the leases of dead holders.
    pub(super) async fn leases(&self) {
        if let Err(error) = self.leases.sweep(self.config.sweep_batch).await {
            tracing::debug!(%error, "sweep of abandoned leases failed; the next sweep retries");
        }
    }

    /// One instance of the cluster trims at a time. The others try again at their next sweep.
    async fn trim_log(&self) {
        let work = SharedWork {
            key: "trim:invalidation_log".to_owned(),
            read_position: 0,
            last_invalidation: 0,
            done: Expr::value(false),
        };
        let Claim::Ours(lease) = self.leases.claim(&work, None, self.leases.timeout()).await else { return };
        if let Err(error) = self.log.trim(self.config.stale_if_error + RETENTION_MARGIN).await {
            tracing::warn!(%error, "trimming the invalidation log failed; the next sweep retries");
        }
        drop(lease);
    }
}
