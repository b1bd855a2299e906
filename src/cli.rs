//! The one binary's command line: what was asked for, as data.
//!
//! Parsing ends here, and so do usage errors (exit 2), configurations that cannot be used (2) and listeners that are
//! refused (78). What a server or a migration does is `main`'s to start; what speaks to a server is [`client::run`]'s,
//! what needs neither is [`local::run`]'s.

use std::{collections::BTreeMap, ffi::OsString, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, ConfigError, Loaded},
    grpc::middleware::auth::Role,
};

pub mod client;
pub mod doctor;
pub mod failure;
pub mod local;
pub mod output;
pub mod server;
pub mod server_side;

use output::Format;
use server_side::Settings;

/// What was asked for.
#[derive(Debug)]
pub enum Invocation {
    /// Work on the server's side, with its configuration.
    Server(server_side::Command),
    /// A call to a running server.
    Client(Box<client::Command>),
    /// A look at everything that a server would use.
    Doctor(doctor::Command),
    /// A question about this binary and its configuration.
    Local(local::Command),
}

const FIRST_STEPS: &str = "To begin: `userdata serve --demo`, and in another terminal `userdata get 1`.";
const SETTINGS_BESIDE_FLAGS: &str = "Every setting can also be given in the file (--config), as --set SECTION.KEY=VALUE or in the environment as \
     USERDATA__SECTION__KEY; `userdata config show` lists them all.";

/// One call, the whole user: a coherent, three-tier cache and assembler of comprehensive user data, served by gRPC.
#[derive(Debug, Parser)]
#[command(name = "userdata", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    #[command(after_help = SETTINGS_BESIDE_FLAGS)]
    Serve(Settings),
    /// Examine everything that `serve` would use, and say what to do about what is wrong
    Doctor(doctor::Doctor),
    /// Bring the database's tables up to date, or tell how far they are
    Migrate(Migrate),
    /// Let changes in the sources' tables invalidate by themselves
    #[command(subcommand)]
    Triggers(server_side::TriggerAction),
    #[command(flatten)]
    Client(client::Command),
    /// Check, show or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Tokens of callers
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

#[derive(Debug, Args)]
struct Migrate {
    #[command(subcommand)]
    direction: server_side::Direction,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration as `serve` would
    Check(Settings),
    /// Show every setting with its effective value and where that came from
    Show {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Print what every setting means, as Markdown
    Reference,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; nothing keeps it, the server gets only its digest
    New {
        /// What its caller may do
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Role,
        /// What the log calls its caller
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

/// How results are printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// Reads the process's arguments and environment. What ends here has been said already, to stdout (help) or stderr.
pub fn parse() -> Result<Invocation, ExitCode> {
    parse_from(std::env::args_os(), &config::environment()).map_err(Refusal::tell)
}

fn parse_from(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &BTreeMap<String, String>,
) -> Result<Invocation, Refusal> {
    let load = |settings: Settings| settings.load(environment).map(Box::new);
    let listening = |settings: Settings| {
        let loaded = load(settings)?;
        loaded.check_listeners()?;
        Ok::<Box<Loaded>, ConfigError>(loaded)
    };
    Ok(match Line::try_parse_from(arguments)?.command {
        Command::Serve(settings) => Invocation::Server(server_side::Command::Serve(listening(settings)?)),
        Command::Doctor(doctor::Doctor { settings, output }) => {
            Invocation::Doctor(doctor::Command { loaded: load(settings), format: output.output })
        }
        Command::Migrate(Migrate { direction }) => {
            let (migration, settings) = direction.split();
            Invocation::Server(server_side::Command::Migrate(migration, load(settings)?))
        }
        Command::Triggers(action) => {
            let (triggers, settings) = action.split();
            Invocation::Server(server_side::Command::Triggers(triggers, load(settings)?))
        }
        Command::Demo(DemoCommand::Seed(settings)) => {
            Invocation::Server(server_side::Command::DemoSeed(load(settings)?))
        }
        Command::Client(command) => Invocation::Client(Box::new(command)),
        Command::Config(ConfigCommand::Check(settings)) => {
            listening(settings)?;
            Invocation::Local(local::Command::ConfigCheck)
        }
        Command::Config(ConfigCommand::Show { settings, output }) => {
            Invocation::Local(local::Command::ConfigShow(load(settings)?, output.output))
        }
        Command::Config(ConfigCommand::Schema) => Invocation::Local(local::Command::ConfigSchema),
        Command::Config(ConfigCommand::Reference) => Invocation::Local(local::Command::ConfigReference),
        Command::Token(TokenCommand::New { role, name, output }) => {
            Invocation::Local(local::Command::TokenNew(role, name, output.output))
        }
        Command::Version { output } => Invocation::Local(local::Command::Version(output.output)),
    })
}

/// Why there is nothing to do.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// Not a command line of ours, or a question for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Refusal {
    fn exit_code(&self) -> u8 {
        match self {
            // 0 for help and version, else 2.
            Self::Usage(error) => u8::from(error.use_stderr()) * 2,
            Self::Config(error) => error.exit_code(),
        }
    }

    fn tell(self) -> ExitCode {
        match &self {
            // A closed stdout is nobody's problem: whoever closed it does not want to read.
            Self::Usage(error) => drop(error.print()),
            Self::Config(error) => output::complain(error),
        }
        ExitCode::from(self.exit_code())
    }
}

#[cfg(test)]
mod tests;
