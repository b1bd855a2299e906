//! A redis-server of a test's own: a free port, a temporary directory, killed when dropped.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

pub(in crate::cache) struct RedisServer {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl RedisServer {
    /// A server that runs.
    pub(in crate::cache) fn started() -> Self {
        let mut server = Self::absent();
        server.start();
        server
    }

    /// A server that is not there yet; its address is.
    pub(in crate::cache) fn absent() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), port: free_port(), process: None }
    }

    pub(in crate::cache) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(in crate::cache) fn port(&self) -> u16 {
        self.port
    }

    pub(in crate::cache) fn cluster_url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.port)
    }

    /// Runs a command until it is answered with `expected`.
    pub(in crate::cache) fn until(&self, command: &[&str], expected: &str) {
        for _ in 0..500 {
            let answer = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output().unwrap();
            if String::from_utf8_lossy(&answer.stdout).contains(expected) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{command:?} was never answered with {expected}");
    }

    pub(in crate::cache) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts it with options of a test's own.
    pub(in crate::cache) fn start_with(&mut self, options: &[&str]) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.directory.path())
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("the tests need redis-server");
        self.process = Some(child);
    }

    /// Stops it without letting go of its connections: SIGSTOP.
    pub(in crate::cache) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(in crate::cache) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Kills it; its data is lost.
    pub(in crate::cache) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(in crate::cache) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
