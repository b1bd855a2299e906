//! One PostgreSQL for the whole test binary, in which every test gets a database of its own; and others
//! for tests that kill them.

use std::{ffi::OsString, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tokio::sync::OnceCell;

use crate::{
    binary, free_port, log_of,
    process::{Process, Start},
    wait_for,
};

/// A server in a temporary directory.
#[derive(Debug)]
pub struct Postgres {
    pub port: u16,
    directory: PathBuf,
    /// None while it is down.
    process: Option<Process>,
}

impl Postgres {
    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection that may create and drop databases.
    pub async fn administer(&self) -> DatabaseConnection {
        Database::connect(self.url("postgres")).await.unwrap()
    }

    /// A copy of it that follows it, and takes no writes.
    pub async fn replica(&self) -> Self {
        let directory = new_directory("postgres");
        let mut copy = as_postgres("pg_basebackup");
        copy.extend(arguments(&["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname"]));
        copy.extend([self.url("postgres").into(), "--pgdata".into(), directory.join("data").into()]);
        run(Command::new(&copy[0]).args(&copy[1..]).current_dir("/"));
        started(directory).await
    }

    /// Ends it as a crash would: connections break, nothing is tidied up, the log is replayed at the next start.
    pub async fn kill(&mut self) {
        let process = self.process.take().expect("it runs");
        // Its own word for that; after KILL its children would hold the shared memory for a while.
        process.signal("QUIT");
        wait_for("PostgreSQL to end", async || (!process.is_running()).then_some(())).await;
        process.end_but_keep_directory();
    }

    /// Starts it again, on the same port.
    pub async fn start(&mut self) {
        assert!(self.try_start().await, "{}", self.log());
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it runs").signal_family("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.as_ref().expect("it runs").signal_family("CONT");
    }

    async fn try_start(&mut self) -> bool {
        let log = self.directory.join("log");
        let mut command = as_postgres("postgres");
        command.extend(["-D".into(), self.directory.join("data").into(), "-p".into(), self.port.to_string().into()]);
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.directory.display()),
            // Every test has pools of its own, and several servers.
            "max_connections=300".to_owned(),
            "shared_buffers=32MB".to_owned(),
            // As in production: an acknowledged commit is on the disk.
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
        ];
        command.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
        // QUIT ends it without a checkpoint, and unlike KILL gives its shared memory back.
        let start = Start { command, environment: vec![], log: &log, signal: "QUIT", directory: Some(&self.directory) };
        self.process = Some(Process::start(start));
        while self.process.as_ref().is_some_and(Process::is_running) {
            if let Ok(connection) = Database::connect(self.url("postgres")).await {
                connection.execute_unprepared("SELECT 1").await.unwrap();
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Some(ended) = self.process.take() {
            ended.end_but_keep_directory();
        }
        false
    }

    fn log(&self) -> String {
        log_of(&self.directory.join("log"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Else its process' keeper does that, once it has ended.
        if self.process.is_none() {
            let _gone = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// The server of this test binary. The first call starts it; it ends with the test process.
pub async fn postgres() -> &'static Postgres {
    static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
    POSTGRES.get_or_init(own_postgres).await
}

/// A server of the test's own, to be killed and started again.
pub async fn own_postgres() -> Postgres {
    let directory = new_directory("postgres");
    let mut initdb = as_postgres("initdb");
    initdb.extend(arguments(&["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]));
    initdb.extend(arguments(&["--no-sync", "--pgdata"]));
    initdb.push(directory.join("data").into());
    run(Command::new(&initdb[0]).args(&initdb[1..]).current_dir("/"));
    started(directory).await
}

pub(crate) fn new_directory(name: &str) -> PathBuf {
    let directory = tempfile::Builder::new().prefix(&format!("userdata-{name}-")).tempdir().unwrap().keep();
    if running_as_root() {
        // PostgreSQL refuses to run as root.
        run(Command::new("chown").arg("postgres:").arg(&directory));
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o750)).unwrap();
    directory
}

async fn started(directory: PathBuf) -> Postgres {
    let mut postgres = Postgres { port: 0, directory, process: None };
    // Another process may take the port in the meantime.
    for _ in 0..3 {
        postgres.port = free_port();
        if postgres.try_start().await {
            return postgres;
        }
    }
    panic!("PostgreSQL does not start: {}", postgres.log());
}

/// The command of one of PostgreSQL's programs; as root, it runs as the user postgres.
pub(crate) fn as_postgres(program: &str) -> Vec<OsString> {
    let program = binary(program, &installed()).into_os_string();
    if !running_as_root() {
        return vec![program];
    }
    let mut command = arguments(&["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
    command.push(program);
    command
}

/// Where Debian puts the servers, newest version first: not in every PATH.
fn installed() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    directories.sort();
    directories.reverse();
    directories.push("/usr/sbin".into());
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
