//! One instance with its defaults, on PostgreSQL and Redis, and sources of a given duration.

use std::{net::SocketAddr, time::Duration};

use sea_orm::ConnectionTrait;
use tempfile::TempDir;

use super::load::{Callers, Whom};
use testkit::{
    database::Kind,
    log_of,
    process::{Process, Start},
    redis::{Redis, redis},
    sources::{OF_STRATEGY, Sources, sources},
    wait_for,
};

use crate::paths::slow_view;

/// More users than all phases need.
const USERS: u32 = 300_000;

#[derive(Debug)]
pub(super) struct Stand {
    address: SocketAddr,
    process: Process,
    sources: Sources,
    redis: Redis,
    _directory: TempDir,
}

impl Stand {
    pub(super) async fn set_up(source: Duration) -> Self {
        let (sources, redis) = (sources(Kind::Postgres).await, redis().await);
        let fill = format!(
            "INSERT INTO onboarding_sessions (user_id) SELECT id::text FROM generate_series(1, {USERS}) id;
             INSERT INTO enhanced_content_strategies (id, user_id, name, industry)
                 SELECT id, id::text, '0', 'technology' FROM generate_series(1, {USERS}) id;
             ANALYZE;"
        );
        sources.db.execute_unprepared(&fill).await.unwrap();
        if !source.is_zero() {
            sources.db.execute_unprepared(&slow_view(OF_STRATEGY, source)).await.unwrap();
        }
        let directory = tempfile::Builder::new().prefix("userdata-bench-").tempdir().unwrap();
        let log = directory.path().join("log");
        let program = std::env::current_exe().unwrap().with_file_name("userdata");
        assert!(program.is_file(), "{} is missing: run cargo build --release", program.display());
        let command = vec![program.into_os_string(), "serve".into()];
        let environment = [
            ("USERDATA__SERVER__LISTEN", "127.0.0.1:0"),
            ("USERDATA__METRICS__LISTEN", "127.0.0.1:0"),
            ("USERDATA__DATABASE__URL", &sources.database.url),
            ("USERDATA__REDIS__URL", &redis.url()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let process = Process::start(Start { command, environment, log: &log, signal: "KILL", directory: None });
        let address = wait_for("its address", async || {
            assert!(process.is_running(), "it ended: {}", log_of(&log));
            let said = log_of(&log);
            said.split_once("listening on http://")?.1.split_whitespace().next()?.parse().ok()
        });
        Self { address: address.await, process, sources, redis, _directory: directory }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loads the first users into memory.
    pub(super) async fn warm(&self, callers: &Callers, users: u32) {
        for _ in 0..users {
            wait_for("a warm user", async || callers.call(Whom::Warm(users)).await.outcome.ok()).await;
        }
    }

    /// Makes every cached document unusable.
    pub(super) async fn lose_everything(&self) {
        self.redis.command("FLUSHALL").await;
        // A position above all cached documents; instances learn it with the next reading of the log.
        let lose = "UPDATE invalidation_log_head SET position = position + 1, low_watermark = position + 1; TRUNCATE comprehensive_user_data_cache";
        self.sources.db.execute_unprepared(lose).await.unwrap();
    }

    /// Resident memory of the process.
    pub(super) fn memory_mib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Its peak.
    pub(super) fn memory_peak_mib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}
