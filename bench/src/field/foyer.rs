//! foyer: one process's memory (its second tier is a disk).

use foyer::{Cache, CacheBuilder};

use super::origin::Origin;

#[derive(Debug)]
pub(crate) struct Foyer {
    cache: Cache<String, i64>,
    origin: Origin,
}

impl Foyer {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { cache: CacheBuilder::new(10_000).build(), origin }
    }

    pub(crate) async fn get(&self, user: &str) -> Result<i64, String> {
        let origin = self.origin.clone();
        // docs.rs/foyer, Cache::get_or_fetch: "The concurrent fetch requests will be deduplicated".
        let got = self.cache.get_or_fetch(user, || origin.load()).await;
        got.map(|entry| *entry.value()).map_err(|error| error.to_string())
    }

    pub(crate) fn invalidate(&self, user: &str) {
        self.cache.remove(user);
    }
}
