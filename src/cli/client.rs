//! Commands that call a running server: a file for each, with its options, call and table.
//!
//! The exit code is the gRPC code of the answer: 0 OK, 5 NOT_FOUND, 14 UNAVAILABLE or no server at all.

use std::process::ExitCode;

use clap::Subcommand;
use tonic::Code;

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
pub enum ClientCommand {
    /// Get the document of a user
    Get(get::GetArgs),
    /// Invalidate the cached documents of a user
    Invalidate(invalidate::InvalidateArgs),
    /// Show statistics of the cache
    Stats(stats::StatsArgs),
    /// Show live metrics of a server
    Top(top::TopArgs),
    /// Delete expired rows from the cache table
    Cleanup(cleanup::CleanupArgs),
    /// Load documents into the cache
    Warm(warm::WarmArgs),
    /// Check whether the server is ready
    Healthcheck(healthcheck::HealthcheckArgs),
}

#[must_use]
pub fn run(command: ClientCommand) -> ExitCode {
    Output::with_stdout(|output| {
        // One call needs no more threads than this one.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Code::Internal, format!("cannot start: {error}")))?;
        runtime.block_on(command.call(output))
    })
}

impl ClientCommand {
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
