//! The planning application's tables on a temporary SQLite database, as the migrations create them.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tempfile::TempDir;
use userdata_migrations::Tables;

use super::sql::{ReadTransaction, SourceDatabase};
use crate::{
    config::Pooler,
    database::{self, Access},
};

/// A column limit small enough to exceed in a test.
pub(super) const COLUMN_BYTES_MAX: usize = 16 * 1024;

/// The tables, empty at first; they go with this value.
pub(super) struct SourceTables {
    pub(super) database: SourceDatabase,
    connection: DatabaseConnection,
    _directory: TempDir,
}

impl SourceTables {
    pub(super) async fn create(column_bytes_max: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", directory.path().join("sources.db").display());
        let options = database::Options {
            access: Access::ReadWrite,
            application_name: "tests".to_owned(),
            max_connections: 2,
            acquire_timeout: std::time::Duration::from_secs(10),
            statement_timeout: std::time::Duration::from_secs(10),
            pooler: Pooler::None,
        };
        let connection = database::connect(&url, &options).await.unwrap();
        userdata_migrations::up(&connection, Tables::CacheAndSources).await.unwrap();
        let database = SourceDatabase::new(connection.clone().into(), column_bytes_max);
        Self { database, connection, _directory: directory }
    }

    pub(super) async fn execute(&self, sql: &str) {
        self.connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    pub(super) async fn reading(&self) -> ReadTransaction {
        self.database.begin(&[]).await.unwrap().0
    }
}
