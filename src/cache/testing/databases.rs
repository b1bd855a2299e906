//! Databases of a test's own, migrated.

use std::{path::Path, time::Duration};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use servers::postgres::{Postgres, own_postgres};
use tempfile::TempDir;
use userdata_migrations::{Tables, up};

/// A SQLite file with the tables, and a connection as the service makes it.
pub(in crate::cache) async fn sqlite() -> (TempDir, DatabaseConnection) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cache.db");
    let connection = open_sqlite(&file).await;
    connection.execute_unprepared("PRAGMA journal_mode = WAL").await.unwrap();
    up(&connection, Tables::Cache).await.unwrap();
    (directory, connection)
}

/// One more connection to a SQLite file.
pub(in crate::cache) async fn open_sqlite(file: &Path) -> DatabaseConnection {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", file.display()));
    options.max_connections(4).sqlx_logging(false);
    options.map_sqlx_sqlite_opts(|options| options.busy_timeout(Duration::from_millis(200)));
    Database::connect(options).await.unwrap()
}

/// A PostgreSQL of a test's own with the tables, and a connection to it.
pub(in crate::cache) async fn postgres() -> (Postgres, DatabaseConnection) {
    let server = own_postgres().await;
    let connection = server.administer().await;
    up(&connection, Tables::Cache).await.unwrap();
    (server, connection)
}
