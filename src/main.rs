//! The process: arguments and configuration, then the log, then what was asked for, then the exit code.

use std::process::ExitCode;

use userdata::{
    cli::{self, Invocation},
    telemetry,
};

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(Invocation::Server(command)) => command,
        Ok(Invocation::Client(command)) => return cli::client::run(*command),
        Ok(Invocation::Local(command)) => return cli::local::run(&command),
        Err(exit_code) => return exit_code,
    };
    if let Err(error) = telemetry::init(&command.config().log) {
        cli::output::complain(&error);
        return ExitCode::FAILURE;
    }
    cli::server::run(command)
}
