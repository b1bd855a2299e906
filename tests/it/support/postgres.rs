//! One PostgreSQL for the whole test binary; every test gets a database of its own in it.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tokio::sync::OnceCell;

use super::{
    binary, free_port, log_of,
    process::{Process, Start},
};

/// A server in a temporary directory.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) port: u16,
    process: Process,
    log: PathBuf,
}

impl Postgres {
    /// The URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection that may create and drop databases.
    pub(crate) async fn administer(&self) -> DatabaseConnection {
        Database::connect(self.url("postgres")).await.unwrap()
    }
}

/// The binary's server; started by whoever asks first, ended with the test process.
pub(crate) async fn postgres() -> &'static Postgres {
    static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
    POSTGRES.get_or_init(start).await
}

async fn start() -> Postgres {
    let directory = tempfile::Builder::new().prefix("userdata-postgres-").tempdir().unwrap().keep();
    if running_as_root() {
        // PostgreSQL refuses to run as root.
        run(Command::new("chown").arg("postgres:").arg(&directory));
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o750)).unwrap();
    let data = directory.join("data");
    let mut initdb = as_postgres("initdb");
    initdb.extend(arguments(&["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]));
    initdb.extend(arguments(&["--no-sync", "--pgdata"]));
    initdb.push(data.clone().into());
    run(Command::new(&initdb[0]).args(&initdb[1..]).current_dir("/"));

    // Another process may take the port in the meantime.
    for _ in 0..3 {
        if let Some(postgres) = start_on(free_port(), &directory, &data).await {
            return postgres;
        }
    }
    panic!("PostgreSQL does not start: {}", log_of(&directory.join("log")));
}

async fn start_on(port: u16, directory: &Path, data: &Path) -> Option<Postgres> {
    let log = directory.join("log");
    let mut command = as_postgres("postgres");
    command.extend(["-D".into(), data.into(), "-p".into(), port.to_string().into()]);
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", directory.display()),
        // Every test has pools of its own, and several servers.
        "max_connections=300".to_owned(),
        "shared_buffers=32MB".to_owned(),
        // As in production: an acknowledged commit is on the disk.
        "fsync=on".to_owned(),
        "synchronous_commit=on".to_owned(),
    ];
    command.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
    // QUIT ends it without a checkpoint, and unlike KILL gives its shared memory back.
    let start = Start { command, environment: vec![], log: &log, signal: "QUIT", directory: Some(directory) };
    let postgres = Postgres { port, process: Process::start(start), log };
    while postgres.process.is_running() {
        if let Ok(connection) = Database::connect(postgres.url("postgres")).await {
            connection.execute_unprepared("SELECT 1").await.unwrap();
            return Some(postgres);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("{}", log_of(&postgres.log));
    None
}

/// The command of one of PostgreSQL's programs, with which root becomes somebody else.
fn as_postgres(program: &str) -> Vec<OsString> {
    let program = binary(program, &installed()).into_os_string();
    if !running_as_root() {
        return vec![program];
    }
    let mut command = arguments(&["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
    command.push(program);
    command
}

/// Where Debian puts the server, newest version first: not in the PATH.
fn installed() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    directories.sort();
    directories.reverse();
    directories
}

fn running_as_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

fn arguments(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
