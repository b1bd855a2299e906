//! What the instances of a cluster share: the sources' tables and the cache's database.

use sea_orm::DatabaseConnection;

use super::{
    database::Kind,
    server::Settings,
    sources::{Sources, count, sources},
};

/// What instances share.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) sources: Sources,
    /// The cache's tables.
    pub(crate) cache: DatabaseConnection,
}

/// A database with all tables and no rows, no Redis.
pub(crate) async fn cluster(kind: Kind) -> Cluster {
    let sources = sources(kind).await;
    let cache = sources.db.clone();
    Cluster { sources, cache }
}

impl Cluster {
    /// The settings of an instance. Its timeouts are long: a busy machine is not what is tested.
    pub(crate) fn settings(&self) -> Settings {
        let environment = [
            ("USERDATA__DATABASE__URL", self.sources.database.url.as_str()),
            ("USERDATA__DATABASE__TIMEOUT", "5s"),
            ("USERDATA__FENCE__RENEW_TIMEOUT", "5s"),
            ("USERDATA__SOURCES__SOFT_TIMEOUT", "8s"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Settings { flags: vec![], environment }
    }

    /// Rows in the cache table.
    pub(crate) async fn rows(&self) -> i64 {
        count(&self.cache, "SELECT COUNT(*) FROM comprehensive_user_data_cache").await
    }
}
