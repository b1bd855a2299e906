//! Databases of a test's own, migrated.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;
use userdata_migrations::{Tables, up};

use super::redis_server::free_port;

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

/// A PostgreSQL of a test's own: a free port, a temporary directory, killed when dropped.
pub(in crate::cache) struct PostgresServer {
    process: Child,
    directory: TempDir,
    port: u16,
}

impl PostgresServer {
    /// A server with the tables, and a connection to it.
    pub(in crate::cache) async fn started() -> (Self, DatabaseConnection) {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(directory.path()).status().unwrap().success());
        }
        let made = as_postgres("initdb")
            .arg("--pgdata")
            .arg(&data)
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let port = free_port();
        let process = as_postgres("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory.path())
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "fsync=off", "-c", "log_min_messages=fatal"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, directory, port };
        let connection = server.connect().await;
        up(&connection, Tables::Cache).await.unwrap();
        (server, connection)
    }

    async fn connect(&self) -> DatabaseConnection {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        for _ in 0..100 {
            let mut options = ConnectOptions::new(&url);
            options.max_connections(4).sqlx_logging(false);
            if let Ok(connection) = Database::connect(options).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL in {} did not start", self.directory.path().display());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown: its children go with it.
        let stopped = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        assert!(stopped.is_ok_and(|status| status.success()));
        let _ = self.process.wait();
    }
}

/// PostgreSQL refuses to run as root. `setpriv` becomes the program, so its pid is the server's.
fn as_postgres(program: &str) -> Command {
    let program = installed(program);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

/// Debian keeps the servers' programs out of PATH.
fn installed(program: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("the tests need PostgreSQL")
        .map(|version| version.unwrap().path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().expect("the tests need PostgreSQL")
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
