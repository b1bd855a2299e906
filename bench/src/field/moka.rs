//! moka: one process's memory.

use moka::future::Cache;

use super::origin::Origin;

#[derive(Debug)]
pub(crate) struct Moka {
    cache: Cache<String, i64>,
    origin: Origin,
}

impl Moka {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { cache: Cache::new(10_000), origin }
    }

    pub(crate) async fn get(&self, user: &str) -> Result<i64, String> {
        // docs.rs/moka, future::Cache::try_get_with: "concurrent calls on the same not-existing key are
        // coalesced into one evaluation of the init future".
        let got = self.cache.try_get_with(user.to_owned(), self.origin.clone().load()).await;
        got.map_err(|error| error.to_string())
    }

    pub(crate) async fn invalidate(&self, user: &str) {
        self.cache.invalidate(user).await;
    }
}
