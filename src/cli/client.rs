//! Commands that call a running server: one file each, with its options, its call and its table.
//!
//! The exit code is the gRPC code of the answer: 0 OK, 5 NOT_FOUND, 14 UNAVAILABLE or no server at all.

use std::process::ExitCode;

use clap::Subcommand;

use super::{failure::Failure, output::Output};

mod cleanup;
mod get;
mod healthcheck;
mod human;
mod invalidate;
mod stats;
mod target;
mod top;
mod warm;

/// A call to a running server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get everything about a user
    Get(get::Get),
    /// Make everything cached about a user unusable
    Invalidate(invalidate::Invalidate),
    /// Show what the cache holds and how it does
    Stats(stats::Stats),
    /// Watch what a server does
    Top(top::Top),
    /// Delete expired rows from the cache table
    Cleanup(cleanup::Cleanup),
    /// Load documents ahead of their use
    Warm(warm::Warm),
    /// Ask whether the server is ready to serve
    Healthcheck(healthcheck::Healthcheck),
}

/// Makes the call and prints the answer.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    Output::with_stdout(|output| {
        // One call at a time needs no more threads than this one.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(command.call(output))
    })
}

impl Command {
    async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Get(get) => get.call(output).await,
            Self::Invalidate(invalidate) => invalidate.call(output).await,
            Self::Stats(stats) => stats.call(output).await,
            Self::Top(top) => top.call(output).await,
            Self::Cleanup(cleanup) => cleanup.call(output).await,
            Self::Warm(warm) => warm.call(output).await,
            Self::Healthcheck(healthcheck) => healthcheck.call(output).await,
        }
    }
}

#[cfg(test)]
mod tests;
