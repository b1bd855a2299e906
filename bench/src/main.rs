//! Comparisons of this service with what else one could take, measured side by side in one run: a
//! figure from another day or machine says nothing. Nothing here decides whether a change may land;
//! what has to hold is a test (`tests/it`).

#![expect(clippy::unwrap_used, reason = "a comparison that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "what was measured is printed")]
#![expect(clippy::print_stderr, reason = "and so is how far it has come")]

mod field;
mod hits;
mod machine;
mod overload;
mod policy;
mod paths;
mod probes;
mod replay;
mod stand;
mod wire;

/// The real servers that the tests start: on free ports, in temporary directories, and gone with this
/// process however it ends. They are the tests' own files, so that a comparison stands on what is tested.
#[path = "../../tests/it/support"]
#[expect(dead_code, reason = "the tests need more of their files")]
mod servers {
    pub(crate) mod ai;
    pub(crate) mod call;
    pub(crate) mod database;
    mod needs;
    mod postgres;
    pub(crate) mod process;
    pub(crate) mod redis;
    pub(crate) mod sources;

    use needs::{binary, free_port};
    pub(crate) use needs::{log_of, wait_for};
}

use clap::Parser;

/// What is compared.
#[derive(Debug, Parser)]
#[command(about)]
enum Comparison {
    /// How often the memory tier hits with either engine: real traces, beside LRU and the best that is possible.
    Policy(policy::Options),
    /// What is past a memory hit, and what a hit costs under more of everything: eight tables.
    Paths(paths::Options),
    /// What becomes of callers when something goes wrong: eight probes, asked of five caches.
    Probes {
        /// Only these probes, by their letters.
        #[arg(value_name = "LETTER")]
        only: Vec<char>,
    },
    /// How many reads find a fresh document, and what that costs in AI calls: a trace of real reads and changes.
    Replay(replay::Replay),
    /// What a memory hit costs on the wire: this service and others that answer the same bytes.
    Wire(wire::Options),
    /// What happens when it is asked for more than it can do.
    Overload(overload::Options),
    /// What `bench/instructions` counts the instructions of.
    #[command(hide = true)]
    Hits(hits::Options),
    /// One of the servers that `wire` starts.
    #[command(hide = true)]
    Serve(wire::Serve),
}

#[tokio::main]
async fn main() {
    // Whoever waits for what panicked would wait for ever. The servers end with this process.
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
        Comparison::Overload(options) => overload::run(&options).await,
        Comparison::Serve(options) => wire::serve(options).await,
    }
}
