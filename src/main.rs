//! The process: arguments and configuration, then what was asked for, then the exit code.

use std::process::ExitCode;

use userdata::cli::{self, Invocation};

fn main() -> ExitCode {
    match cli::parse() {
        Ok(Invocation::Server(command)) => cli::server::run(command),
        Ok(Invocation::Client(command)) => cli::client::run(*command),
        Ok(Invocation::Doctor(command)) => cli::doctor::run(&command),
        Ok(Invocation::ConfigCheck(loaded)) => cli::config_check::run(&loaded.config),
        Ok(Invocation::Local(command)) => cli::local::run(&command),
        Err(exit_code) => exit_code,
    }
}
