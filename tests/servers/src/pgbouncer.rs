//! PgBouncer before a PostgreSQL, for every database in it.

use std::{fs, time::Duration};

use tokio::net::TcpStream;

use crate::{
    free_port, log_of,
    postgres::{Postgres, as_postgres, new_directory},
    process::{Process, Start},
};

/// A running pooler; dropping it ends it.
#[derive(Debug)]
pub struct PgBouncer {
    pub port: u16,
    _process: Process,
}

impl PgBouncer {
    /// The URL of a database, through it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

/// Starts one with these settings. The others are the defaults, but for where it listens and whom it lets in.
pub async fn pgbouncer(postgres: &Postgres, settings: &[&str]) -> PgBouncer {
    let directory = new_directory("pgbouncer");
    let (file, log) = (directory.join("pgbouncer.ini"), directory.join("log"));
    // Another process may take the port in the meantime.
    for _ in 0..3 {
        let port = free_port();
        let lines = [
            "[databases]".to_owned(),
            format!("* = host=127.0.0.1 port={} user=postgres", postgres.port),
            "[pgbouncer]".to_owned(),
            "listen_addr = 127.0.0.1".to_owned(),
            format!("listen_port = {port}"),
            format!("unix_socket_dir = {}", directory.display()),
            "auth_type = any".to_owned(),
        ];
        fs::write(
            &file,
            lines.iter().map(String::as_str).chain(settings.iter().copied()).collect::<Vec<_>>().join("\n"),
        )
        .unwrap();
        let mut command = as_postgres("pgbouncer");
        command.push(file.clone().into());
        let start = Start { command, environment: vec![], log: &log, signal: "TERM", directory: Some(&directory) };
        let process = Process::start(start);
        while process.is_running() {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return PgBouncer { port, _process: process };
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.end_but_keep_directory();
    }
    panic!("PgBouncer does not start: {}", log_of(&log));
}
