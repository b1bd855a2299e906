//! An instance that serves the demo data from a database of its own, and a way to hold its sources.

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait};

use crate::{
    database::{Kind, TestDatabase, database},
    server::{Server, Settings, serve},
    wait_for,
};
use userdata::proto::v1::GetCacheStatsRequest;

/// A day in the past, so that nothing depends on today.
pub const DEMO_AS_OF: &str = "2025-09-01";

/// Serves the demo with these further variables.
pub async fn serve_demo(kind: Kind, environment: &[(&str, &str)]) -> (TestDatabase, Server) {
    let database = database(kind).await;
    let server = serve(demo_settings(&database, environment)).await;
    (database, server)
}

/// The demo on this database, with these further variables.
pub fn demo_settings(database: &TestDatabase, environment: &[(&str, &str)]) -> Settings {
    let flags = ["--demo", "--demo-as-of", DEMO_AS_OF, "--database-url", &database.url];
    Settings {
        uid: None,
        files: None,
        flags: flags.map(str::to_owned).into(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

/// Makes readers of onboarding data on PostgreSQL wait until the returned transaction is dropped.
pub async fn hold_onboarding(database: &DatabaseConnection) -> DatabaseTransaction {
    let holding = database.begin().await.unwrap();
    holding.execute_unprepared("LOCK TABLE onboarding_sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    holding
}

impl Server {
    /// Waits until so many documents are in the cache table: they are stored behind the answers.
    pub async fn documents_stored(&self, count: i64) {
        let client = self.client().await;
        wait_for("documents to be stored", async || {
            let stats = client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner();
            (stats.total_entries == Some(count)).then_some(())
        })
        .await;
    }

    /// How many runs of a source have begun, and how many of them go on.
    pub async fn runs(&self, source: &str) -> (i64, i32) {
        let stats = self.client().await.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner();
        let source = stats.sources.into_iter().find(|stats| stats.source == source).expect("a source");
        (source.runs, source.in_flight)
    }

    /// Waits until so many loads read onboarding data.
    pub async fn loads_in_flight(&self, count: i32) {
        wait_for("loads to be in flight", async || (self.runs("onboarding").await.1 == count).then_some(())).await;
    }
}
