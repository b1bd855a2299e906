//! What the cache does behind the requests; `background.rs` says when.

use std::time::Duration;

use super::UserDataCache;

/// Fences are kept longer than any snapshot lives, by this margin.
const TRIM_MARGIN: Duration = Duration::from_secs(3600);

impl UserDataCache {
    /// Brings the copy of the invalidation log up to date, which extends its lease.
    pub async fn poll_invalidation_log(&self) {
        if let Err(error) = self.loader.invalidation_log.catch_up().await {
            tracing::debug!(%error, "the invalidation log could not be read");
        }
    }

    /// Deletes what is too old to be of any use: rows, memos, fences.
    pub async fn sweep(&self) {
        let loader = &self.loader;
        let stale_max = loader.config.database.stale_max;
        match loader.database.sweep(stale_max, loader.config.database.sweep_batch).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "swept old rows"),
            Err(error) => tracing::warn!(%error, "old rows could not be swept"),
        }
        if let Err(error) = loader.aggregator.ai().sweep_responses(loader.config.database.sweep_batch).await {
            tracing::warn!(%error, "unused memos could not be swept");
        }
        if let Err(error) = loader.leases.sweep(loader.config.database.sweep_batch).await {
            tracing::warn!(%error, "leases of the dead could not be swept");
        }
        if let Err(error) = loader.invalidation_log.trim(stale_max + TRIM_MARGIN).await {
            tracing::warn!(%error, "old fences could not be trimmed");
        }
    }

    /// Writes the access counts gathered since the last time.
    pub async fn flush_tally(&self) {
        if let Err(error) = self.loader.access_counts.flush(&self.loader.database).await {
            tracing::warn!(%error, "access counts could not be written; they are kept");
        }
    }

    /// Tries the tiers that are left alone, so that no request has to.
    pub async fn probe_tiers(&self) {
        let redis = async {
            if let Some(redis) = &self.loader.redis {
                redis.probe().await;
            }
        };
        tokio::join!(redis, self.loader.database.probe());
    }

    /// The last things before the process ends.
    pub async fn close(&self) {
        self.flush_tally().await;
        if let Some(redis) = &self.loader.redis {
            redis.close().await;
        }
    }
}
