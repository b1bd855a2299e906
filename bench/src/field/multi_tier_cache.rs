//! multi-tier-cache: moka above Redis, with invalidations over pub/sub.

use std::{fmt, sync::Arc, time::Duration};

use multi_tier_cache::{
    CacheError, CacheManager, CacheStrategy, InvalidationConfig, L1Cache, L2Cache, MokaCacheConfig,
};

use super::origin::Origin;

/// The channel of its invalidations.
pub(crate) const CHANNEL: &str = "bench:invalidations";
/// Longer than its subscriber's pause of 5 s before it reconnects, so that the probe shows whether the subscriber
/// catches up on missed messages.
pub(crate) const TTL: Duration = Duration::from_secs(15);

pub(crate) struct MultiTierCache {
    cache: CacheManager,
    origin: Origin,
}

impl fmt::Debug for MultiTierCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MultiTierCache").finish_non_exhaustive()
    }
}

impl MultiTierCache {
    /// As its README sets it up for several instances ("Cross-Instance Invalidation").
    pub(crate) async fn connect(redis_url: &str, origin: Origin) -> Self {
        let memory = Arc::new(L1Cache::new(MokaCacheConfig::default()).unwrap());
        let redis = Arc::new(L2Cache::with_url(redis_url).await.unwrap());
        let config = InvalidationConfig { channel: CHANNEL.to_owned(), ..InvalidationConfig::default() };
        let cache = CacheManager::new_with_invalidation(memory, redis, redis_url, config).await.unwrap();
        Self { cache, origin }
    }

    pub(crate) async fn get(&self, user: &str) -> Result<i64, String> {
        let origin = self.origin.clone();
        let load = || async { origin.load().await.map_err(|failed| CacheError::BackendError(failed.to_string())) };
        // README, "Compute-on-Miss": "Concurrent requests for the same key are coalesced - only one
        // computation runs, the rest wait and share the result"; "Type-Safe Caching" for its result.
        let got = self.cache.get_or_compute_typed(user, CacheStrategy::Custom(TTL), load).await;
        got.map_err(|error| error.to_string())
    }

    pub(crate) async fn invalidate(&self, user: &str) {
        self.cache.invalidate(user).await.unwrap();
    }
}
