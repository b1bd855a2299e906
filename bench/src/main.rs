//! Comparisons of this service with its alternatives, measured side by side in one run: a figure from another day or
//! machine proves nothing. Requirements are tests (`tests/it`); nothing here decides whether a change may land.

#![expect(clippy::disallowed_types, reason = "Shuttle does not exchange the locks of benchmarks")]
#![expect(clippy::unwrap_used, reason = "a comparison ends at its first failure")]
#![expect(clippy::print_stdout, reason = "results go to stdout")]
#![expect(clippy::print_stderr, reason = "progress goes to stderr")]

mod field;
mod hits;
mod log;
mod machine;
mod overload;
mod policy;
mod paths;
mod probes;
mod replay;
mod stand;
mod wire;

use clap::Parser;

/// A comparison.
#[derive(Debug, Parser)]
#[command(about)]
enum Comparison {
    /// Hit rates of the memory tier with either engine: real traces, beside LRU and the optimum.
    Policy(policy::Options),
    /// Everything beyond a memory hit, and a hit at larger scale: eight tables.
    Paths(paths::Options),
    /// What callers get when something goes wrong: eight probes of five caches.
    Probes {
        /// Only these probes, by their letters.
        #[arg(value_name = "LETTER")]
        only: Vec<char>,
    },
    /// Fresh hits, and their cost in AI calls: a trace of real reads and changes.
    Replay(replay::Replay),
    /// The cost of a memory hit on the wire: this service and others that answer the same bytes.
    Wire(wire::Options),
    /// The invalidation log with ten million entries.
    Log(log::Options),
    /// The service at ten times its capacity.
    Overload(overload::Options),
    /// The hits whose instructions `bench/instructions` counts.
    #[command(hide = true)]
    Hits(hits::Options),
    /// One of the servers that `wire` starts.
    #[command(hide = true)]
    Serve(wire::Serve),
}

#[tokio::main]
async fn main() {
    // After a panic, other tasks would wait for ever. The servers end with this process.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::exit(101);
    }));
    match Comparison::parse() {
        Comparison::Hits(options) => hits::run(&options).await,
        Comparison::Policy(options) => policy::run(&options),
        Comparison::Paths(options) => paths::run(&options).await,
        Comparison::Probes { only } => probes::run(&only).await,
        Comparison::Replay(replay) => replay::run(replay).await,
        Comparison::Wire(options) => wire::run(&options).await,
        Comparison::Log(options) => log::run(&options).await,
        Comparison::Overload(options) => overload::run(&options).await,
        Comparison::Serve(options) => wire::serve(options).await,
    }
}
