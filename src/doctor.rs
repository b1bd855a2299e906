//! Checks configuration and dependencies of `serve`. Each finding says what was checked, the result and, if there is a
//! problem, what to fix.
//!
//! Areas are checked concurrently, each with a timeout: an area that hangs is a finding.
//! Invariant: nothing is changed. Database sessions cannot write, a missing embedded database is not created, and the AI
//! endpoint gets no request that costs money, unless [`AiCheck::Ask`] asks for one. Redis and the key database are the
//! exceptions: they get a record and a key of the doctor's own, which are removed.

mod ai;
mod cache_database;
mod certificates;
mod clocks;
mod databases;
mod descriptors;
mod keys;
mod network;
mod redis;
mod settings;
mod sources;
mod user_files;

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

pub use ai::AiCheck;

use crate::config::{ConfigError, Loaded, OpenTelemetry};

/// For one area: several times the time of a healthy one, and short enough to wait for.
const AREA_MAX: Duration = Duration::from_secs(8);
/// For one connection: shorter, so that a connection failure is reported as such.
const REACH_MAX: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It works, or is not configured.
    Ok,
    /// It works, but not as well or as safely as it could.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, from a closed list, for programs.
    pub check: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// What to fix. Empty: nothing.
    pub remedy: String,
}

/// The findings.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Ok, found: found.into(), remedy: String::new() });
    }

    fn warn(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Warn, found: found.into(), remedy: remedy.into() });
    }

    fn fail(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Fail, found: found.into(), remedy: remedy.into() });
    }

    /// In the order of the areas.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// The worst one.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.0.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }
}

/// Checks everything that a server with this configuration uses.
pub async fn examine(loaded: &Loaded, ai: AiCheck) -> Findings {
    let config = &loaded.config;
    let telemetry = OpenTelemetry::of_process();
    let areas: [futures::future::BoxFuture<'_, Findings>; 10] = [
        Box::pin(within("configuration", "look at the disks of its files", async |found| {
            settings::examine(loaded, &telemetry, found);
            descriptors::examine(config, found);
            certificates::examine(config, found).await;
        })),
        Box::pin(within("listeners", "look at what listens there", async |found| {
            network::listeners(config, found).await;
        })),
        Box::pin(within("cache database", databases::HANGS, async |found| {
            cache_database::examine(config, found).await
        })),
        Box::pin(within("sources database", databases::HANGS, async |found| sources::examine(config, found).await)),
        Box::pin(within("change triggers", databases::HANGS, async |found| sources::triggers(config, found).await)),
        Box::pin(within("key database", databases::HANGS, async |found| keys::examine(config, found).await)),
        Box::pin(within("redis", redis::HANGS, async |found| redis::examine(&config.redis, found).await)),
        Box::pin(within_time(
            ai.takes_at_most(config, AREA_MAX),
            "ai endpoint",
            "look at the network between",
            async |found| ai::examine(ai, config, found).await,
        )),
        Box::pin(within("clocks", "look at the load of this machine", async |found| clocks::examine(found).await)),
        Box::pin(within("collector", "look at the network between", async |found| {
            network::collectors(&telemetry, found).await;
        })),
    ];
    Findings(join_all(areas).await.into_iter().flat_map(|findings| findings.0).collect())
}

/// The findings if the configuration cannot be read.
#[must_use]
pub fn unreadable(error: &ConfigError) -> Findings {
    let mut found = Findings::default();
    for problem in &error.problems {
        found.fail("configuration", problem.to_string(), settings::REMEDY);
    }
    found
}

/// The findings of an area. After a timeout those before it remain.
async fn within(area: &'static str, remedy: &str, examine: impl AsyncFnOnce(&mut Findings)) -> Findings {
    within_time(AREA_MAX, area, remedy, examine).await
}

async fn within_time(
    limit: Duration,
    area: &'static str,
    remedy: &str,
    examine: impl AsyncFnOnce(&mut Findings),
) -> Findings {
    let mut found = Findings::default();
    if tokio::time::timeout(limit, examine(&mut found)).await.is_err() {
        found.fail(area, format!("was not done within {limit:?}"), remedy);
    }
    found
}
