//! cachet: one process's memory (further tiers are its user's own code).

use cachet::Cache;
use tick::Clock;

use super::origin::Origin;

#[derive(Debug)]
pub(crate) struct Cachet {
    cache: Cache<String, i64>,
    origin: Origin,
}

impl Cachet {
    pub(crate) fn new(origin: Origin) -> Self {
        // README, "Cache Stampede Protection": "all concurrent requests for the same key are merged so
        // that only one computes the value".
        Self { cache: Cache::builder(Clock::new_tokio()).memory().stampede_protection().build(), origin }
    }

    pub(crate) async fn get(&self, user: &str) -> Result<i64, String> {
        let origin = self.origin.clone();
        let got = self.cache.try_get_or_insert(user, || origin.load()).await;
        got.map(|entry| *entry.value()).map_err(|error| error.to_string())
    }

    pub(crate) async fn invalidate(&self, user: &str) {
        self.cache.invalidate(user).await.unwrap();
    }
}
