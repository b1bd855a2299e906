//! The real `userdata serve`, as its own process on free ports.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::{Channel, Endpoint};
use userdata::proto::v1::user_data_service_client::UserDataServiceClient;

use crate::{
    call::Caller,
    command::program,
    log_of,
    process::{Process, Start},
    wait_for,
};

/// The client of the contract.
pub type Client = UserDataServiceClient<Channel>;

/// What tests have instead of the defaults, unless they say otherwise.
const OF_TESTS: [(&str, &str); 7] = [
    // Most tests say themselves when a change becomes known, and when something is read or loaded.
    ("USERDATA__SOURCES__CHANGE_FEED", "false"),
    ("USERDATA__PREFETCH__ENABLED", "false"),
    ("USERDATA__STALENESS_CHECK__SHARE", "0"),
    // Limits that a busy machine does not reach. A test of a limit, or of what it costs, sets its own.
    ("USERDATA__DATABASE__TIMEOUT", "5s"),
    ("USERDATA__INVALIDATION_LOG__RENEW_TIMEOUT", "5s"),
    ("USERDATA__SOURCES__SOFT_TIMEOUT", "8s"),
    ("USERDATA__REDIS__TIMEOUT", "2s"),
];

/// How an instance is started: flags of `serve` and environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub flags: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Another user to run as, if the test is root.
    pub uid: Option<u32>,
    /// The soft and the hard limit of file descriptors.
    pub files: Option<(u64, u64)>,
}

impl Settings {
    /// With its cache in this database.
    pub fn on(database_url: &str) -> Self {
        Self::default().with("database.url", database_url)
    }

    /// With one more setting, by its name in the configuration.
    pub fn with(mut self, setting: &str, value: impl ToString) -> Self {
        let variable = format!("USERDATA__{}", setting.replace('.', "__").to_uppercase());
        self.environment.push((variable, value.to_string()));
        self
    }
}

/// A running instance; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// Where it serves gRPC; kept over restarts.
    pub address: SocketAddr,
    settings: Settings,
    process: Option<Process>,
    directory: TempDir,
}

/// Starts an instance and waits until it is healthy.
pub async fn serve(settings: Settings) -> Server {
    let server = launch(settings).await;
    server.healthy().await;
    server
}

/// Starts an instance and waits until it listens, not until it is healthy.
pub async fn launch(settings: Settings) -> Server {
    let directory = tempfile::Builder::new().prefix("userdata-serve-").tempdir().unwrap();
    let mut server = Server { address: SocketAddr::from(([127, 0, 0, 1], 0)), settings, process: None, directory };
    server.listen().await;
    server
}

impl Server {
    /// Starts it again, on the same address and with the same settings.
    pub async fn start(&mut self) {
        self.listen().await;
        self.healthy().await;
    }

    /// Waits until it says that it serves.
    pub async fn healthy(&self) {
        wait_for("the server to be healthy", async || {
            self.assert_running();
            self.is_healthy().await.then_some(())
        })
        .await;
    }

    async fn listen(&mut self) {
        assert!(self.process.is_none(), "it runs");
        // A log of its own for every start, or the address of the last one would be found in it.
        let _gone = std::fs::remove_file(self.log_file());
        let mut command: Vec<std::ffi::OsString> = Vec::new();
        if let Some(uid) = self.settings.uid {
            let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
            command.extend(["setpriv".into(), user.into(), group.into(), "--clear-groups".into()]);
        }
        if let Some((soft, hard)) = self.settings.files {
            command.extend(["prlimit".into(), format!("--nofile={soft}:{hard}").into()]);
        }
        command.extend([program().into(), "serve".into()]);
        command.extend(["--listen".into(), self.address.to_string().into()]);
        command.extend(["--metrics-listen".into(), "127.0.0.1:0".into()]);
        command.extend(self.settings.flags.iter().map(Into::into));
        let log = self.log_file();
        let mut environment: Vec<_> = OF_TESTS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        environment.extend(self.settings.environment.iter().cloned());
        self.process = Some(Process::start(Start { command, environment, log: &log, signal: "KILL", directory: None }));
        self.address = wait_for("the server's address", async || {
            self.assert_running();
            let log = log_of(&log);
            let (_, url) = log.split_once("listening on ")?;
            let (_scheme, address) = url.split_once("://")?;
            address.split(|c: char| c.is_whitespace() || c == '"').next()?.parse().ok()
        })
        .await;
    }

    /// Kills it as a crash would.
    pub async fn kill(&mut self) {
        self.end("KILL").await;
    }

    /// Asks it to shut down and waits until it has.
    pub async fn terminate(&mut self) {
        self.end("TERM").await;
    }

    /// Waits until it has ended by itself, or because of an earlier signal, and returns its exit code.
    pub async fn exit_code(&mut self) -> i32 {
        let process = self.process.take().expect("it runs");
        wait_for("the server to end", async || (!process.is_running()).then_some(())).await;
        process.exit_code()
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// The status and body of `GET path` on the port for probes.
    pub async fn probe(&self, path: &str) -> (u16, String) {
        let log = self.log();
        let (before, _) = log.split_once("/healthz").expect("the port is printed");
        let address = before.rsplit_once("http://").expect("a URL").1;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
        (head.split(' ').nth(1).expect("a status").parse().unwrap(), body.to_owned())
    }

    /// Where it serves HTTP, if `http.listen` is set.
    pub fn http_address(&self) -> SocketAddr {
        let log = self.log();
        let line = log.lines().find(|line| line.starts_with("HTTP ")).expect("the port is printed");
        let (_, after) = line.split_once("://").expect("a URL");
        after.split_once(": ").expect("a word on it").0.parse().unwrap()
    }

    /// Waits until so many callers wait for loads.
    pub async fn has_waiting_callers(&self, callers: usize) {
        let line = format!("userdata_load_waiters {callers}");
        let look = async || self.probe("/metrics").await.1.lines().any(|told| told == line).then_some(());
        wait_for("callers to wait", look).await;
    }

    /// Waits until it has read the outbox, of which it had read nothing before: what was cached until then is outdated.
    pub async fn has_read_the_outbox(&self) {
        // The age of what is verified has a series from then on.
        let age = "userdata_change_feed_verified_age_seconds";
        wait_for("the outbox to be read", async || self.probe("/metrics").await.1.contains(age).then_some(())).await;
    }

    /// How often it has stored a document in a tier, or tried to: this is done behind the answers.
    pub async fn writes(&self, tier: &str) -> u64 {
        let (of_tier, (_, metrics)) = (format!("tier=\"{tier}\""), self.probe("/metrics").await);
        let lines = metrics.lines().filter(|line| line.starts_with("userdata_cache_writes_total{"));
        let counts =
            lines.filter(|line| line.contains(&of_tier)).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>());
        counts.map(|count| count.expect("a number")).sum()
    }

    /// Waits until it has done so many of them.
    pub async fn has_written(&self, tier: &str, writes: u64) {
        wait_for("writes behind the answers", async || (self.writes(tier).await == writes).then_some(())).await;
    }

    /// What it has in memory, in MiB.
    pub fn memory_mib(&self) -> u64 {
        let pid = self.process.as_ref().expect("it runs").pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> Client {
        client(self.address).await
    }

    /// A caller with a connection of its own.
    pub async fn caller(&self) -> Caller {
        Caller::new(endpoint(self.address).connect().await.unwrap())
    }

    /// What it has written since its start.
    pub fn log(&self) -> String {
        log_of(&self.log_file())
    }

    async fn end(&mut self, signal: &str) {
        let process = self.process.take().expect("it runs");
        process.signal(signal);
        wait_for("the server to end", async || (!process.is_running()).then_some(())).await;
    }

    /// A connection of its own, for other clients than the contract's.
    pub async fn channel(&self) -> Channel {
        endpoint(self.address).connect().await.unwrap()
    }

    async fn is_healthy(&self) -> bool {
        use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
        let Ok(channel) = endpoint(self.address).connect().await else { return false };
        let reply = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        reply.is_ok_and(|reply| reply.into_inner().status() == ServingStatus::Serving)
    }

    fn assert_running(&self) {
        let running = self.process.as_ref().is_some_and(Process::is_running);
        assert!(running, "the server ended:\n{}", self.log());
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

/// A client of whatever serves there.
pub async fn client(address: SocketAddr) -> Client {
    UserDataServiceClient::new(endpoint(address).connect().await.unwrap())
}

/// The same, which connects when it is first used, and again whenever it has to.
pub fn lazy_client(address: SocketAddr) -> Client {
    UserDataServiceClient::new(endpoint(address).connect_lazy())
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
}
