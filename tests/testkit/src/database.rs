//! A fresh database for a test, on either kind; it is gone when the test ends.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement};
use tempfile::TempDir;
use tokio::sync::Mutex;
use userdata::{
    clock::Clock,
    config::Pooler,
    database::{Access, Options, connect},
    demo,
};
use userdata_migrations::{Tables, up};

use crate::{
    postgres::{Postgres, postgres},
    wait_for,
};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Requirements hold on both.
pub const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// An empty database.
#[derive(Debug)]
pub struct TestDatabase {
    pub url: String,
    place: Place,
}

/// What has to be removed.
#[derive(Debug)]
enum Place {
    Directory {
        _kept: TempDir,
    },
    Server {
        server: &'static Postgres,
        name: String,
    },
    /// A server of the test's own, with which it goes.
    OwnServer,
}

/// An empty database of this kind.
pub async fn database(kind: Kind) -> TestDatabase {
    match kind {
        Kind::Sqlite => {
            let directory = tempfile::Builder::new().prefix("userdata-sqlite-").tempdir().unwrap();
            let url = format!("sqlite://{}/userdata.db?mode=rwc", directory.path().display());
            TestDatabase { url, place: Place::Directory { _kept: directory } }
        }
        Kind::Postgres => create("").await,
    }
}

/// A database with all tables and the demo data of today.
pub async fn demo_database(kind: Kind) -> TestDatabase {
    demo_database_of(kind, today()).await
}

/// The same, dated from another day. It is seeded once for each day; every test gets a copy.
pub async fn demo_database_of(kind: Kind, base_day: NaiveDate) -> TestDatabase {
    match kind {
        Kind::Sqlite => {
            static FILES: Mutex<BTreeMap<NaiveDate, Vec<u8>>> = Mutex::const_new(BTreeMap::new());
            let mut files = FILES.lock().await;
            if let Entry::Vacant(vacant) = files.entry(base_day) {
                let seeded = database(Kind::Sqlite).await;
                seed_from(&seeded.url, base_day).await;
                vacant.insert(std::fs::read(seeded.file()).unwrap());
            }
            let copy = database(Kind::Sqlite).await;
            std::fs::write(copy.file(), &files[&base_day]).unwrap();
            copy
        }
        Kind::Postgres => {
            static TEMPLATES: Mutex<BTreeMap<NaiveDate, TestDatabase>> = Mutex::const_new(BTreeMap::new());
            let mut templates = TEMPLATES.lock().await;
            if let Entry::Vacant(vacant) = templates.entry(base_day) {
                let template = create("").await;
                seed_from(&template.url, base_day).await;
                vacant.insert(template);
            }
            create(&format!("TEMPLATE {}", templates[&base_day].name())).await
        }
    }
}

/// Migrates a database and writes the demo data of today into it.
pub async fn seed(url: &str) {
    seed_from(url, today()).await;
}

async fn seed_from(url: &str, base_day: NaiveDate) {
    let pool = pool(url, Access::ReadWrite).await;
    up(&pool, Tables::CacheAndSources).await.unwrap();
    demo::seed(&pool, &demo::SeedOptions::on(base_day), |_, _| ()).await.unwrap();
    // A file is complete once its last connection is closed, and a template may have none.
    pool.close().await.unwrap();
}

/// The day on which the tests run, which is what a server's clock says.
pub fn today() -> NaiveDate {
    Clock::system().utc().date_naive()
}

/// A database on the binary's PostgreSQL.
async fn create(options: &str) -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let server = postgres().await;
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    server.administer().await.execute_unprepared(&format!("CREATE DATABASE {name} {options}")).await.unwrap();
    TestDatabase { url: server.url(&name), place: Place::Server { server, name } }
}

impl TestDatabase {
    /// A database on a server of the test's own.
    pub fn on(server: &Postgres, name: &str) -> Self {
        Self { url: server.url(name), place: Place::OwnServer }
    }

    /// Which of the two it is.
    pub fn kind(&self) -> Kind {
        match self.place {
            Place::Directory { .. } => Kind::Sqlite,
            Place::Server { .. } | Place::OwnServer => Kind::Postgres,
        }
    }

    /// A pool as the cache has it.
    pub async fn connect(&self) -> DatabaseConnection {
        pool(&self.url, Access::ReadWrite).await
    }

    /// A pool as the sources have it.
    pub async fn connect_read_only(&self) -> DatabaseConnection {
        pool(&self.url, Access::ReadOnly).await
    }

    /// A pool as the sources have it, for another role.
    pub async fn connect_as(&self, role: &str) -> DatabaseConnection {
        pool(&self.url.replacen("postgres@", &format!("{role}@"), 1), Access::ReadOnly).await
    }

    /// Ends all connections and refuses new ones, as a PostgreSQL that is down.
    pub async fn shut(&self) {
        let Place::Server { server, name } = &self.place else { panic!("a file cannot be shut") };
        let server = server.administer().await;
        server.execute_unprepared(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        server.execute_unprepared(&end).await.unwrap();
    }

    /// Accepts connections again.
    pub async fn open(&self) {
        let Place::Server { server, name } = &self.place else { panic!("a file cannot be shut") };
        let open = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
        server.administer().await.execute_unprepared(&open).await.unwrap();
    }

    /// Runs statements. A server may be writing to the same SQLite file.
    pub async fn execute(&self, sql: &str) {
        execute(&self.connect().await, sql).await;
    }

    /// A query's rows.
    pub async fn rows(&self, sql: &str) -> Vec<QueryResult> {
        let pool = self.connect().await;
        pool.query_all_raw(Statement::from_string(pool.get_database_backend(), sql)).await.unwrap()
    }

    /// How many documents the cache table holds.
    pub async fn documents(&self) -> i64 {
        let rows = self.rows("SELECT COUNT(*) AS n FROM comprehensive_user_data_cache WHERE format > 0").await;
        rows[0].try_get("", "n").unwrap()
    }

    /// Waits until the cache table holds so many: they are stored behind their answers.
    pub async fn wait_for_documents(&self, documents: i64) {
        wait_for("the documents' rows", async || (self.documents().await == documents).then_some(())).await;
    }

    /// Where SQLite keeps it.
    pub fn file(&self) -> &str {
        let path = self.url.strip_prefix("sqlite://").expect("a file");
        path.strip_suffix("?mode=rwc").expect("as `database` says it")
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }
}

/// Our own tables only, as beside sources that are elsewhere.
pub async fn migrate_cache(url: &str) {
    up(&pool(url, Access::ReadWrite).await, Tables::Cache).await.unwrap();
}

async fn pool(url: &str, access: Access) -> DatabaseConnection {
    let options = Options {
        access,
        application_name: "userdata-test".to_owned(),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
        pooler: Pooler::None,
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

/// Runs statements. SQLite has one writer: to wait longer for it than a pool does is no failure here.
/// Without [`wait_for`], whose closures keep a future from being spawned.
pub async fn execute(db: &DatabaseConnection, sql: &str) {
    let done = async {
        loop {
            match db.execute_unprepared(sql).await {
                Err(error) if error.to_string().contains("database is locked") => {}
                done => return done.unwrap_or_else(|error| panic!("{sql}: {error}")),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), done)
        .await
        .unwrap_or_else(|_| panic!("a minute was not enough: {sql}"));
}
