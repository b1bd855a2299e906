//! Metrics of the process and its runtime, read from the kernel and tokio at collection.
//!
//! A value that cannot be read is left out.

use std::{fs, path::Path};

use tokio::runtime::Handle;

use super::{Meter, Observe, names};
use crate::clock::Clock;

/// The unit of processor time in /proc, the same on all Linux targets of Rust.
const TICKS_PER_SECOND: f64 = 100.0;

/// Observes the process, and the runtime if called within one.
pub(super) fn observe(meter: &Meter, clock: &Clock) {
    meter.observe(&names::PROCESS_CPU, |observe| tell_processor_time(observe).unwrap_or_default());
    meter.observe(&names::PROCESS_MEMORY, |observe| {
        if let Some(kibibytes) = status("VmRSS:") {
            observe(&[], kibibytes * 1024.0);
        }
    });
    meter.observe(&names::PROCESS_THREADS, |observe| {
        if let Some(threads) = status("Threads:") {
            observe(&[], threads);
        }
    });
    meter.observe(&names::PROCESS_FILES, |observe| {
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            observe(&[], count(files.count()));
        }
    });
    let (clock, started) = (clock.clone(), clock.now());
    // Of all instruments the one that costs least, so that there is one for durations to be told with.
    meter.tell_durations(&names::PROCESS_UPTIME, move |observe| observe(&[], clock.now().since(started).as_secs_f64()));

    let Ok(runtime) = Handle::try_current() else { return };
    let metrics = runtime.metrics();
    let read = |of, number: fn(&tokio::runtime::RuntimeMetrics) -> usize| {
        let metrics = metrics.clone();
        meter.observe(of, move |observe| observe(&[], count(number(&metrics))));
    };
    read(&names::RUNTIME_WORKERS, tokio::runtime::RuntimeMetrics::num_workers);
    read(&names::RUNTIME_TASKS, tokio::runtime::RuntimeMetrics::num_alive_tasks);
    read(&names::RUNTIME_QUEUE, tokio::runtime::RuntimeMetrics::global_queue_depth);
}

fn tell_processor_time(observe: Observe<'_>) -> Option<()> {
    let stat = fs::read_to_string(Path::new("/proc/self/stat")).ok()?;
    // The second field is the program's name, which may hold anything; user and system time are the 14th and 15th.
    let mut after_name = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    for mode in ["user", "system"] {
        observe(&[mode], after_name.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    }
    Some(())
}

/// A number of `/proc/self/status`.
fn status(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a process stay far below 2^53")]
fn count(number: usize) -> f64 {
    number as f64
}
