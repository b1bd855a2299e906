//! Where and when something was measured, and what of: figures without that are worth nothing.

use std::{ffi::OsString, process::Command};

use userdata::clock::Clock;

/// The day, the machine and how busy it is, in one line.
pub(crate) fn description() -> String {
    let cpus = cpus();
    let load = load_average();
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    format!("{}, {cpus} CPUs, load average {load}, {build}", Clock::system().utc().format("%Y-%m-%d %H:%M UTC"))
}

/// Of the last one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let file = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    file.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// A CPU for what is measured, and the others for what loads it. On the same ones they would take turns, and a load
/// generator that needs more time per call than the server would decide how many calls that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cpus {
    OfServers,
    OfLoad,
    All,
}

impl Cpus {
    fn list(self) -> String {
        match (self, cpus()) {
            (_, 1) | (Self::OfServers, _) => "0".to_owned(),
            (Self::OfLoad, all) => format!("1-{}", all - 1),
            (Self::All, all) => format!("0-{}", all - 1),
        }
    }

    /// What a command begins with that runs only there.
    pub(crate) fn prefix(self) -> Vec<OsString> {
        ["taskset", "-c", &self.list()].map(Into::into).into()
    }

    /// Lets a process run only there, with all its threads.
    pub(crate) fn hold(self, pid: u32) {
        let output = Command::new("taskset").args(["-apc", &self.list(), &pid.to_string()]).output();
        let output = output.unwrap_or_else(|error| panic!("taskset: {error}. Debian has it in the package util-linux"));
        assert!(output.status.success(), "{output:?}");
    }
}

fn cpus() -> usize {
    // Of the machine, not those that are left to this process.
    let listed = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    listed.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// The version of a package that was compiled in: there is one of each in the lock file.
pub(crate) fn version_of(package: &str) -> String {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().expect("cargo wrote it");
    let packages = lock["package"].as_array().expect("a lock file lists packages");
    let found = packages.iter().find(|entry| entry["name"].as_str() == Some(package)).expect("it is a dependency");
    found["version"].as_str().expect("a package has a version").to_owned()
}
