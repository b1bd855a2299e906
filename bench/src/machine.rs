//! Time, machine and versions of a measurement: figures are worthless without them.

use std::{ffi::OsString, process::Command};

use userdata::clock::Clock;

/// Day, machine and load average, in one line.
pub(crate) fn description() -> String {
    let cpus = cpus();
    let load = load_average();
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    format!("{}, {cpus} CPUs, load average {load}, {build}", Clock::system().utc().format("%Y-%m-%d %H:%M UTC"))
}

/// The load averages of one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let file = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    file.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// One CPU for the servers, the others for the load. On shared CPUs, a load generator slower than the server would
/// limit the result.
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

    /// The prefix of a command that runs only there.
    pub(crate) fn prefix(self) -> Vec<OsString> {
        ["taskset", "-c", &self.list()].map(Into::into).into()
    }

    /// Pins a process to it, with all its threads.
    pub(crate) fn hold(self, pid: u32) {
        let output = Command::new("taskset").args(["-apc", &self.list(), &pid.to_string()]).output();
        let output = output.unwrap_or_else(|error| panic!("taskset: {error} (Debian: apt-get install util-linux)"));
        assert!(output.status.success(), "{output:?}");
    }
}

fn cpus() -> usize {
    // The machine's CPUs, not those that this process may use.
    let listed = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    listed.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// The version of a compiled package: the lock file has one of each.
pub(crate) fn version_of(package: &str) -> String {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().expect("cargo wrote it");
    let packages = lock["package"].as_array().expect("a lock file lists packages");
    let found = packages.iter().find(|entry| entry["name"].as_str() == Some(package)).expect("it is a dependency");
    found["version"].as_str().expect("a package has a version").to_owned()
}
