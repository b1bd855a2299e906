//! A fresh database for a test, on either kind; it is gone when the test ends.

use std::{
    path::Path,
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
    pub(crate) url: String,
    place: Place,
}

/// The file's name in its directory.
const FILE: &str = "userdata.db";

/// What has to be removed.
#[derive(Debug)]
enum Place {
    Directory { directory: TempDir },
    Server { server: &'static Postgres, name: String },
}

/// An empty database of this kind.
pub(crate) async fn database(kind: Kind) -> TestDatabase {
    match kind {
        Kind::Sqlite => in_file(|_| ()),
        Kind::Postgres => in_server("template1").await,
    }
}

/// A database in SQLite that begins with this file.
pub(crate) fn copy_of_file(bytes: &[u8]) -> TestDatabase {
    in_file(|file| std::fs::write(file, bytes).unwrap())
}

/// A database in PostgreSQL that begins as this template, to which nobody is connected.
pub(crate) async fn copy_of_template(name: &str) -> TestDatabase {
    in_server(name).await
}

/// A new template with this name; it goes with the server.
pub(crate) async fn template(name: &str) -> DatabaseConnection {
    let server = postgres().await;
    server.administer().await.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    pool(&server.url(name), Access::ReadWrite).await
}

fn in_file(prepare: impl FnOnce(&Path)) -> TestDatabase {
    let directory = tempfile::Builder::new().prefix("userdata-sqlite-").tempdir().unwrap();
    let file = directory.path().join(FILE);
    prepare(&file);
    let url = format!("sqlite://{}?mode=rwc", file.display());
    TestDatabase { url, place: Place::Directory { directory } }
}

async fn in_server(template: &str) -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let server = postgres().await;
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
    server.administer().await.execute_unprepared(&create).await.unwrap();
    TestDatabase { url: server.url(&name), place: Place::Server { server, name } }
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

    /// A pool as the sources have it, for another role.
    pub(crate) async fn connect_as(&self, role: &str) -> DatabaseConnection {
        pool(&self.url.replacen("postgres@", &format!("{role}@"), 1), Access::ReadOnly).await
    }

    /// The file, after everybody has left it.
    pub(crate) fn file_bytes(&self) -> Vec<u8> {
        let Place::Directory { directory } = &self.place else { panic!("PostgreSQL has no file") };
        std::fs::read(directory.path().join(FILE)).unwrap()
    }

    async fn pool(&self, access: Access) -> DatabaseConnection {
        pool(&self.url, access).await
    }
}

async fn pool(url: &str, access: Access) -> DatabaseConnection {
    let options = Options {
        access,
        application_name: "userdata-test".to_owned(),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
        lazy: false,
    };
    connect(url, &options).await.unwrap()
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
