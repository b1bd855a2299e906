//! `userdata serve` as an operator runs it: the binary beside this one, in a process of its own.

use std::{fs, net::SocketAddr, time::Duration};

use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use userdata::proto::v1::{
    GetCacheStatsRequest, GetCacheStatsResponse, GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse,
    user_data_service_client::UserDataServiceClient,
};

use testkit::{
    log_of,
    process::{Process, Start},
    wait_for,
};

use crate::wire::cpu_time;

/// On a busy machine a timeout would become a miss in the figures, or a failed start.
const PATIENT: [(&str, &str); 2] = [("redis.timeout", "5s"), ("database.timeout", "5s")];

/// A running instance; dropping it ends it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) address: SocketAddr,
    pid: u32,
    client: UserDataServiceClient<Channel>,
    _process: Process,
    _directory: TempDir,
}

impl Instance {
    /// Starts one with these settings, each by its name in the configuration, and waits until it answers.
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        let binary = std::env::current_exe().unwrap().with_file_name("userdata");
        assert!(binary.is_file(), "{} is missing: build it first, with the same profile", binary.display());
        let directory = tempfile::Builder::new().prefix("userdata-bench-").tempdir().unwrap();
        let log = directory.path().join("log");
        let variable = |name: &str| format!("USERDATA__{}", name.replace('.', "__").to_uppercase());
        let environment =
            PATIENT.iter().chain(settings).map(|(name, value)| (variable(name), (*value).to_owned())).collect();
        // The shell becomes the server, so it prints its process id before.
        let mut command: Vec<_> = ["bash", "-c", r#"echo "as $$"; exec "$0" "$@""#].map(Into::into).into();
        command.push(binary.into());
        command.extend(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"].map(Into::into));
        let process = Process::start(Start { command, environment, log: &log, signal: "KILL", directory: None });
        let address: SocketAddr = wait_for("its address", async || {
            let said = log_of(&log);
            assert!(process.is_running(), "it ended: {said}");
            let (_, url) = said.split_once("listening on http://")?;
            url.split(|c: char| c.is_whitespace() || c == '"').next()?.parse().ok()
        })
        .await;
        let pid = log_of(&log).strip_prefix("as ").unwrap().lines().next().unwrap().parse().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().tcp_nodelay(true);
        let client = UserDataServiceClient::new(endpoint.connect().await.unwrap());
        let instance = Self { address, pid, client, _process: process, _directory: directory };
        instance.stats().await;
        instance
    }

    /// One answer, decoded.
    pub(super) async fn get(&self, user: &str) -> GetComprehensiveUserDataResponse {
        let request = GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() };
        self.client.clone().get_comprehensive_user_data(request).await.unwrap().into_inner()
    }

    pub(super) async fn stats(&self) -> GetCacheStatsResponse {
        // On a busy machine the database may exceed its limit.
        let stats = wait_for("statistics", async || {
            self.client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.ok()
        });
        stats.await.into_inner()
    }

    /// Runs of all sources so far.
    pub(super) async fn runs(&self) -> Vec<(String, i64)> {
        self.stats().await.sources.into_iter().map(|source| (source.source, source.runs)).collect()
    }

    /// Documents in memory.
    pub(super) async fn held(&self) -> i64 {
        self.stats().await.tiers.iter().find(|tier| tier.tier == "memory").and_then(|tier| tier.entries).unwrap()
    }

    /// Hits of a tier so far.
    pub(super) async fn hits(&self, tier: &str) -> i64 {
        self.stats().await.tiers.iter().find(|of| of.tier == tier).unwrap().hits
    }

    /// User and system time so far.
    pub(super) fn cpu(&self) -> Duration {
        cpu_time(self.pid)
    }

    /// Its anonymous memory: neither the program nor mapped files.
    pub(super) fn anonymous_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux says it");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }
}
