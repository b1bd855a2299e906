//! The measured servers, each started as a process of its own, so that its CPU time is its own.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::{
    document::{self, Documents, KEY},
    load::{self, Measured},
    rivals::{Rival, Sink},
};
use testkit::{
    log_of,
    process::{Process, Start},
    redis::Redis,
    wait_for,
};

use crate::machine::Cpus;

/// A measured server.
#[derive(Clone, Debug)]
pub(super) struct Contestant {
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A server of this program.
    Rival(Rival),
    /// This service, started by the program of another build.
    OtherBuild(PathBuf),
    /// redis-server itself: connections, and the pipeline of each.
    Redis { connections: u32, pipeline: u32 },
}

/// In the order of the table; the first is the baseline.
pub(super) static CONTESTANTS: [Contestant; 12] = [
    Contestant::rival("raw echo", Rival::Echo),
    Contestant::rival("raw echo, coalesced writes", Rival::EchoCoalesced),
    Contestant::rival("bare hyper", Rival::Hyper),
    Contestant::rival("bare hyper, coalesced writes", Rival::HyperCoalesced),
    Contestant { name: "redis GET, 128 connections", kind: Kind::Redis { connections: 128, pipeline: 1 } },
    Contestant { name: "redis GET, 8 connections, pipeline of 16", kind: Kind::Redis { connections: 8, pipeline: 16 } },
    Contestant::rival("multi-tier-cache, encoded bytes", Rival::MultiTierCache),
    Contestant::rival("moka, prost structs", Rival::Moka),
    Contestant::rival("Redis, serde_json", Rival::RedisJson),
    Contestant::rival("userdata, without coalesced writes", Rival::OursUncoalesced),
    OURS,
    Contestant::rival("userdata, 1 % of calls traced", Rival::OursTraced),
];

/// This service.
pub(super) const OURS: Contestant = Contestant::rival("userdata", Rival::Ours);

impl Contestant {
    const fn rival(name: &'static str, rival: Rival) -> Self {
        Self { name, kind: Kind::Rival(rival) }
    }

    pub(super) fn other_build(program: PathBuf) -> Self {
        Self { name: "userdata, the other build", kind: Kind::OtherBuild(program) }
    }

    /// Whether it is the baseline.
    pub(super) fn is_the_base(&self) -> bool {
        self.name == CONTESTANTS[0].name
    }

    /// The program and its own arguments; none for Redis, which the testkit starts.
    fn arguments(&self, size_kib: usize, documents: &Documents) -> Option<Vec<OsString>> {
        match &self.kind {
            Kind::Rival(rival) => {
                let [rival, database] = [rival.name(), documents.database_url().to_owned()].map(OsString::from);
                let program = std::env::current_exe().unwrap().into_os_string();
                Some(vec![program, "serve".into(), rival, "--database".into(), database])
            }
            // Tables may differ between the builds: it prepares a database of its own.
            Kind::OtherBuild(program) => {
                let size = size_kib.to_string();
                Some(vec![program.into(), "serve".into(), "ours".into(), "--size".into(), size.into()])
            }
            Kind::Redis { .. } => None,
        }
    }
}

/// A running contestant.
#[derive(Debug)]
pub(crate) struct Running {
    contestant: Contestant,
    pid: u32,
    port: u16,
    /// The request that h2load sends.
    request: PathBuf,
    _process: Option<Process>,
    /// The collector of its telemetry.
    _sink: Option<Sink>,
    _directory: TempDir,
}

impl Running {
    /// Starts it, and makes one call: from then on it answers from memory.
    pub(super) async fn start(contestant: Contestant, size_kib: usize, documents: &Documents, redis: &Redis) -> Self {
        let document = documents.of(size_kib);
        let directory = tempfile::Builder::new().prefix("userdata-bench-").tempdir().unwrap();
        let request = directory.path().join("request");
        std::fs::write(&request, document.framed_request()).unwrap();
        let Some(arguments) = contestant.arguments(size_kib, documents) else {
            let pid = redis.info("process_id").await.trim().parse().unwrap();
            Cpus::OfServers.hold(pid);
            return Self {
                contestant,
                pid,
                port: document::port_of(redis),
                request,
                _process: None,
                _sink: None,
                _directory: directory,
            };
        };
        let reply = directory.path().join("reply");
        std::fs::write(&reply, document.reply()).unwrap();
        let log = directory.path().join("log");
        let mut command = Cpus::OfServers.prefix();
        command.extend(arguments);
        command.extend(["--reply", reply.to_str().unwrap(), "--redis", &redis.url()].map(Into::into));
        let is_traced = matches!(contestant.kind, Kind::Rival(Rival::OursTraced));
        let sink = if is_traced { Some(Sink::open().await) } else { None };
        let endpoint = sink.iter().map(|sink| ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), sink.url()));
        // The process is killed: only this directory is removed for it.
        let temporary = ("TMPDIR".to_owned(), directory.path().display().to_string());
        let environment = endpoint.chain([temporary]).collect();
        let start = Start { command, environment, log: &log, signal: "KILL", directory: None };
        let process = Process::start(start);
        let address: SocketAddr = wait_for("its address", async || {
            assert!(process.is_running(), "{} ended: {}", contestant.name, log_of(&log));
            let said = log_of(&log);
            said.split_once("listening on ")?.1.split_once(' ')?.0.parse().ok()
        })
        .await;
        let said = log_of(&log);
        let pid = said.split_once(" as ").unwrap().1.lines().next().unwrap().parse().unwrap();
        document.is_answered_by(address).await;
        let port = address.port();
        let (_process, _sink, _directory) = (Some(process), sink, directory);
        Self { contestant, pid, port, request, _process, _sink, _directory }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.contestant.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Duration {
        load::cpu_time(self.pid)
    }

    /// Loads it in a closed loop.
    pub(super) fn load(&self, seconds: u32, reply_bytes: usize) -> Measured {
        match self.contestant.kind {
            Kind::Rival(_) | Kind::OtherBuild(_) => {
                load::of_process(self.pid, || load::h2load(self.port, &self.request, seconds, reply_bytes))
            }
            Kind::Redis { connections, pipeline } => {
                let took = Duration::from_secs(seconds.into());
                load::of_process(self.pid, || load::redis(self.port, KEY, connections, pipeline, took))
            }
        }
    }
}
