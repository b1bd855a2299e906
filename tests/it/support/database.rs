//! A fresh database for a test, on either kind; it is gone when the test ends.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;
use userdata::database::{Access, Options, connect};

use super::postgres::{Postgres, postgres};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Requirements hold on both.
pub(crate) const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// An empty database.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    _place: Place,
}

/// What has to be removed.
#[derive(Debug)]
enum Place {
    Directory { _directory: TempDir },
    Server { server: &'static Postgres, name: String },
}

/// An empty database of this kind.
pub(crate) async fn database(kind: Kind) -> TestDatabase {
    match kind {
        Kind::Sqlite => {
            let directory = tempfile::Builder::new().prefix("userdata-sqlite-").tempdir().unwrap();
            let url = format!("sqlite://{}/userdata.db?mode=rwc", directory.path().display());
            TestDatabase { kind, url, _place: Place::Directory { _directory: directory } }
        }
        Kind::Postgres => {
            static NUMBER: AtomicU32 = AtomicU32::new(1);
            let server = postgres().await;
            let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            server.administer().await.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
            TestDatabase { kind, url: server.url(&name), _place: Place::Server { server, name } }
        }
    }
}

impl TestDatabase {
    /// A pool as the cache has it.
    pub(crate) async fn connect(&self) -> DatabaseConnection {
        self.pool(Access::ReadWrite).await
    }

    /// A pool as the sources have it.
    pub(crate) async fn connect_read_only(&self) -> DatabaseConnection {
        self.pool(Access::ReadOnly).await
    }

    async fn pool(&self, access: Access) -> DatabaseConnection {
        let options = Options {
            access,
            application_name: "userdata-test".to_owned(),
            max_connections: 8,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(30),
            lazy: false,
        };
        connect(&self.url, &options).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self::Server { server, name } = self else { return };
        let (url, sql) = (server.url("postgres"), format!("DROP DATABASE {name} WITH (FORCE)"));
        // A runtime of its own: this one cannot be blocked, and may be ending.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { Database::connect(url).await?.execute_unprepared(&sql).await.map(drop) })?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("{name} was not dropped: {error}");
        }
    }
}
