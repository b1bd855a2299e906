//! The command line of the binary, parsed into an [`Invocation`].
//!
//! Usage errors and invalid configurations (exit code 2) and unsafe listeners (78) end here. [`server::run`] runs commands
//! on the server's side, [`client::run`] calls a running server, [`local::run`] needs neither.

use std::{collections::BTreeMap, ffi::OsString, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, ConfigError, Loaded},
    grpc::middleware::auth::Role,
};

pub mod client;
pub mod config_check;
mod databases;
pub mod doctor;
pub mod failure;
mod keys;
pub mod local;
mod migrate;
pub mod output;
pub mod server;
pub mod server_side;

use local::LocalCommand;
use output::Format;
use server_side::{Configured, Keys, Migration, ServerCommand, Settings, Triggers};

/// EX_CONFIG of sysexits.h: the configuration cannot work here.
const EX_CONFIG: u8 = 78;

#[derive(Debug)]
pub enum Invocation {
    /// Runs with the configuration of the server.
    Server(ServerCommand),
    /// A call to a running server.
    Client(Box<client::ClientCommand>),
    Doctor(doctor::DoctorCommand),
    /// The settings and the listeners have been checked.
    ConfigCheck(Box<Loaded>),
    /// Concerns this binary and its configuration only.
    Local(LocalCommand),
}

const FIRST_STEPS: &str = "To start: `userdata serve --demo`, and in another terminal `userdata get 1`.";
const SETTINGS_BESIDE_FLAGS: &str = "Every setting can also be given in the file (--config), as --set SECTION.KEY=VALUE or in the environment as \
     USERDATA__SECTION__KEY; `userdata config show` lists them all.";

/// One call, the whole user: a coherent, three-tier cache and assembler of comprehensive user data, served by gRPC.
#[derive(Debug, Parser)]
#[command(name = "userdata", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
struct CommandLine {
    #[command(subcommand)]
    command: TopLevelCommand,
}

#[derive(Debug, Subcommand)]
enum TopLevelCommand {
    /// Serve until SIGTERM or SIGINT
    #[command(after_help = SETTINGS_BESIDE_FLAGS)]
    Serve(Settings),
    /// Check configuration and dependencies, and say what to fix
    Doctor(doctor::DoctorArgs),
    /// Apply database migrations, or show which are applied
    Migrate(Configured<Migration>),
    /// Install or remove triggers on the sources' tables, which turn changes into invalidations
    Triggers(Configured<Triggers>),
    /// The keys by which stored values are encrypted, and the master key that wraps them
    Keys(Configured<Keys>),
    #[command(flatten)]
    Client(client::ClientCommand),
    /// Check, show or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create tokens for callers
    #[command(subcommand)]
    Token(TokenCommand),
    /// Demo data
    #[command(subcommand)]
    Demo(DemoCommand),
    /// Show the version of this binary
    Version {
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration as `serve` would
    Check(Settings),
    /// Show every setting with its effective value and origin
    Show {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Print the reference of all settings, as Markdown
    Reference,
    /// Print a file to begin with: every setting with its meaning and its default, commented out
    Init,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Create a token; the server only needs its digest
    New {
        /// The role of its caller
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Role,
        /// The name of its caller in the log
        #[arg(long, value_name = "NAME", value_parser = caller)]
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

fn role(text: &str) -> Result<Role, &'static str> {
    Role::named(text).ok_or("expected reader, writer or operator")
}

fn caller(text: &str) -> Result<String, &'static str> {
    let printable = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    printable.then(|| text.to_owned()).ok_or("expected one printable word")
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// Write the demo data into the sources' tables if they are empty
    Seed(Settings),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct OutputArgs {
    /// Format of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// Reads arguments and environment of the process. On `Err` the message has been printed.
pub fn parse() -> Result<Invocation, ExitCode> {
    parse_from(std::env::args_os(), &config::environment()).map_err(UsageError::tell)
}

fn parse_from(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &BTreeMap<String, String>,
) -> Result<Invocation, UsageError> {
    let load = |settings: Settings| settings.load(environment).map(Box::new);
    let listening = |settings: Settings| {
        let loaded = load(settings)?;
        loaded.check_listeners()?;
        Ok::<Box<Loaded>, ConfigError>(loaded)
    };
    Ok(match CommandLine::try_parse_from(arguments)?.command {
        TopLevelCommand::Serve(settings) => Invocation::Server(ServerCommand::Serve(listening(settings)?)),
        TopLevelCommand::Doctor(args) => {
            let (ai, format) = (args.ai(), args.output.output);
            Invocation::Doctor(doctor::DoctorCommand { loaded: load(args.settings), ai, format })
        }
        TopLevelCommand::Migrate(Configured { action, settings }) => {
            Invocation::Server(ServerCommand::Migrate(action, load(settings)?))
        }
        TopLevelCommand::Triggers(Configured { action, settings }) => {
            Invocation::Server(ServerCommand::Triggers(action, load(settings)?))
        }
        TopLevelCommand::Keys(Configured { action: Keys::New { name }, .. }) => {
            Invocation::Local(LocalCommand::KeysNew(name))
        }
        TopLevelCommand::Keys(Configured { action, settings }) => {
            Invocation::Server(ServerCommand::Keys(action, load(settings)?))
        }
        TopLevelCommand::Demo(DemoCommand::Seed(settings)) => {
            Invocation::Server(ServerCommand::DemoSeed(load(settings)?))
        }
        TopLevelCommand::Client(command) => Invocation::Client(Box::new(command)),
        TopLevelCommand::Config(ConfigCommand::Check(settings)) => Invocation::ConfigCheck(listening(settings)?),
        TopLevelCommand::Config(ConfigCommand::Show { settings, output }) => {
            Invocation::Local(LocalCommand::ConfigShow(load(settings)?, output.output))
        }
        TopLevelCommand::Config(ConfigCommand::Schema) => Invocation::Local(LocalCommand::ConfigSchema),
        TopLevelCommand::Config(ConfigCommand::Reference) => Invocation::Local(LocalCommand::ConfigReference),
        TopLevelCommand::Config(ConfigCommand::Init) => Invocation::Local(LocalCommand::ConfigInit),
        TopLevelCommand::Token(TokenCommand::New { role, name, output }) => {
            Invocation::Local(LocalCommand::TokenNew(role, name, output.output))
        }
        TopLevelCommand::Version { output } => Invocation::Local(LocalCommand::Version(output.output)),
    })
}

#[derive(Debug, thiserror::Error)]
enum UsageError {
    /// An invalid command line, or a request for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl UsageError {
    fn exit_code(&self) -> u8 {
        match self {
            // 0 for help and version, else 2.
            Self::Usage(error) => u8::from(error.use_stderr()) * 2,
            Self::Config(error) => error.exit_code(),
        }
    }

    fn tell(self) -> ExitCode {
        match &self {
            // A closed stdout is no failure.
            Self::Usage(error) => drop(error.print()),
            Self::Config(error) => output::complain(error),
        }
        ExitCode::from(self.exit_code())
    }
}

#[cfg(test)]
mod tests;
