//! Where and when something was measured, and what of: figures without that are worth nothing.

use userdata::clock::Clock;

/// The day, the machine and how busy it is, in one line.
pub(crate) fn description() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = load_average();
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    format!("{}, {cpus} CPUs, load average {load}, {build}", Clock::system().utc().format("%Y-%m-%d %H:%M UTC"))
}

/// Of the last one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let file = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    file.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The version of a package that was compiled in: there is one of each in the lock file.
pub(crate) fn version_of(package: &str) -> String {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().expect("cargo wrote it");
    let packages = lock["package"].as_array().expect("a lock file lists packages");
    let found = packages.iter().find(|entry| entry["name"].as_str() == Some(package)).expect("it is a dependency");
    found["version"].as_str().expect("a package has a version").to_owned()
}
