//! A Redis for a test: started, stopped, frozen and killed on one port; alone, or one of several.

pub mod sentinels;
pub mod shards;

use std::{path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    binary, free_port, log_of,
    process::{Process, Start},
    wait_for,
};

/// A server and its port. What it saved survives a restart.
#[derive(Debug)]
pub struct Redis {
    pub port: u16,
    /// Of a cluster's nodes among themselves.
    bus: u16,
    /// For TLS, if the options say so.
    pub tls_port: u16,
    /// Beside those that all have.
    options: Vec<String>,
    directory: PathBuf,
    /// None while it is down.
    process: Option<Process>,
    /// Removes the directory, after `process` has ended: fields are dropped in their order.
    _directory: Process,
}

/// A server of the test's own.
pub async fn redis() -> Redis {
    redis_with("").await
}

/// The same with further options, in which `BUS` and `TLS` stand for a second and a third port.
pub async fn redis_with(options: &str) -> Redis {
    let mut redis = Redis::absent();
    // Another process may take a port in the meantime.
    for _ in 0..3 {
        let option =
            |option: &str| option.replace("BUS", &redis.bus.to_string()).replace("TLS", &redis.tls_port.to_string());
        redis.options = options.split_whitespace().map(option).collect();
        if redis.try_start().await {
            return redis;
        }
        (redis.port, redis.bus, redis.tls_port) = (free_port(), free_port(), free_port());
    }
    panic!("Redis does not start: {}", redis.log());
}

impl Redis {
    /// One that has not been started; it has an address.
    #[must_use]
    pub fn absent() -> Self {
        let directory = tempfile::Builder::new().prefix("userdata-redis-").tempdir().unwrap().keep();
        let keeper = Process::start(Start {
            command: vec!["true".into()],
            environment: vec![],
            log: &directory.join("log"),
            signal: "KILL",
            directory: Some(&directory),
        });
        // A sentinel writes into a file; the others leave it empty.
        std::fs::write(directory.join("redis.conf"), "").unwrap();
        Self {
            port: free_port(),
            bus: free_port(),
            tls_port: free_port(),
            options: vec![],
            directory,
            process: None,
            _directory: keeper,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, on the same port and with what it saved.
    pub async fn start(&mut self) {
        // The port may be in TIME_WAIT for connections, never for listening: Redis sets SO_REUSEADDR.
        assert!(self.try_start().await, "{}", self.log());
    }

    /// Kills it as a crash would; what was not saved is lost.
    pub async fn kill(&mut self) {
        self.end("KILL").await;
    }

    /// Ends it in an orderly way; it saves first.
    pub async fn stop(&mut self) {
        assert_eq!(self.command("SAVE").await, "+OK");
        self.end("TERM").await;
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.running().signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.running().signal("CONT");
    }

    /// Sends one command without spaces in its arguments and returns the first line of the reply.
    pub async fn command(&self, command: &str) -> String {
        self.try_command(command).await.unwrap_or_else(|| panic!("Redis does not answer: {}", self.log()))
    }

    /// Repeats a command until its reply contains `expected`.
    pub async fn until(&self, command: &str, expected: &str) {
        let replied = async || self.reply(command).await.filter(|reply| reply.contains(expected)).map(drop);
        wait_for(&format!("{expected} in the reply to {command}"), replied).await;
    }

    /// Records and their indexes: all keys that belong to users.
    pub async fn keys_of_users(&self) -> i64 {
        let count = self.command("EVAL \"return #redis.call('KEYS','*:{*}:*')\" 0").await;
        count.trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{count}"))
    }

    /// What stands behind `name:` in INFO.
    pub async fn info(&self, name: &str) -> String {
        self.try_info(name).await.unwrap_or_else(|| panic!("Redis does not say {name}: {}", self.log()))
    }

    /// The same, unless it is cut off: a server that becomes a replica closes all connections.
    async fn try_info(&self, name: &str) -> Option<String> {
        let info = self.reply("INFO").await?;
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
    }

    async fn try_start(&mut self) -> bool {
        let mut command = vec![binary("redis-server", &[]).into_os_string()];
        command.push(self.directory.join("redis.conf").into());
        let options = format!("--port {} --bind 127.0.0.1 --dir {}", self.port, self.directory.display());
        command.extend(options.split(' ').map(Into::into));
        // It saves only when told to: tests say what survives.
        command.extend(["--save".into(), "".into(), "--appendonly".into(), "no".into()]);
        command.extend(self.options.iter().map(Into::into));
        let log = self.directory.join("log");
        let start = Start { command, environment: vec![], log: &log, signal: "KILL", directory: None };
        self.process = Some(Process::start(start));
        while self.running().is_running() {
            if self.try_command("PING").await.as_deref() == Some("+PONG") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.process = None;
        false
    }

    async fn end(&mut self, signal: &str) {
        let process = self.process.take().expect("it runs");
        process.signal(signal);
        wait_for("Redis to end", async || (!process.is_running()).then_some(())).await;
    }

    async fn try_command(&self, command: &str) -> Option<String> {
        self.reply(command).await?.lines().next().map(str::to_owned)
    }

    /// The whole reply, as it stands on the wire.
    pub async fn reply(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        // A server answers what it has read before it closes.
        stream.shutdown().await.ok()?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.ok()?;
        Some(String::from_utf8_lossy(&reply).into_owned())
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    fn log(&self) -> String {
        log_of(&self.directory.join("log"))
    }
}

#[tokio::test]
async fn redis_can_be_killed_stopped_frozen_and_restarted_on_its_port() {
    let mut redis = redis().await;
    let port = redis.port;
    assert_eq!(redis.command("SET a 1").await, "+OK");
    redis.stop().await;
    redis.start().await;
    assert_eq!(redis.command("EXISTS a").await, ":1", "stop saves");
    assert_eq!(redis.command("SET b 1").await, "+OK");
    redis.kill().await;
    assert_eq!(redis.try_command("PING").await, None, "it is down");
    redis.start().await;
    assert_eq!(redis.command("EXISTS a b").await, ":1", "kill does not save");
    redis.freeze();
    let frozen = tokio::time::timeout(Duration::from_millis(200), redis.try_command("PING")).await;
    assert!(frozen.is_err(), "a frozen server answers nothing");
    redis.thaw();
    assert_eq!(redis.command("PING").await, "+PONG");
    assert_eq!(redis.port, port);
    let directory = redis.directory.clone();
    drop(redis);
    assert!(!directory.exists());
}
