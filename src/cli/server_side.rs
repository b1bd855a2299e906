//! Options of the commands on the server's side, and the configuration flags that they share.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};

use super::OutputArgs;
use crate::config::{Config, ConfigError, Flag, Loaded};

/// A command on the server's side.
#[derive(Debug)]
pub enum ServerCommand {
    /// The listeners have been checked.
    Serve(Box<Loaded>),
    Migrate(Migration, Box<Loaded>),
    Triggers(Triggers, Box<Loaded>),
    Keys(Keys, Box<Loaded>),
    DemoSeed(Box<Loaded>),
}

impl ServerCommand {
    #[must_use]
    pub fn config(&self) -> &Config {
        let (Self::Serve(loaded)
        | Self::Migrate(_, loaded)
        | Self::Triggers(_, loaded)
        | Self::Keys(_, loaded)
        | Self::DemoSeed(loaded)) = self;
        &loaded.config
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Migration {
    /// Apply all pending migrations
    Up,
    /// Revert the latest migrations; their tables are dropped with all data
    Down {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
    },
    /// Show which migrations are applied
    Status(OutputArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Triggers {
    /// Install the triggers and their outbox; safe to repeat
    Install,
    /// Show which tables have triggers
    Status(OutputArgs),
    /// Drop the triggers; the outbox stays
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Keys {
    /// Write a new master key: a line for privacy.master_key_file
    New {
        /// Its name, such as the month; it stands beside each key that it wraps
        name: String,
    },
    /// Show how many users' keys each master key wraps
    Status(OutputArgs),
    /// Wrap all users' keys by the first master key of the file; safe to repeat, and while instances run
    Rotate,
}

/// An action, and the configuration flags before or after it.
#[derive(Debug, Args)]
pub(super) struct Configured<A: Subcommand> {
    #[command(subcommand)]
    pub(super) action: A,
    #[command(flatten)]
    pub(super) settings: Settings,
}

/// Configuration flags, the same for each command with a configuration, so that `config show` and `migrate` accept the
/// flags of `serve`. Global: they may stand before and after an action.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Settings {
    /// A TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting, by its name in `config show`; repeatable
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Address of the gRPC port
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of the HTTP port: Connect, and the planning application's routes
    #[arg(long, global = true, value_name = "ADDRESS")]
    http_listen: Option<String>,
    /// Address of the port for metrics, liveness and readiness
    #[arg(long, global = true, value_name = "ADDRESS")]
    metrics_listen: Option<String>,
    /// Database of the cache, sqlite:// or postgres://
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Redis tier
    #[arg(long, global = true, value_name = "URL")]
    redis_url: Option<String>,
    /// Database of the sources, if not the database of the cache
    #[arg(long, global = true, value_name = "URL")]
    sources_database_url: Option<String>,
    /// Write demo data if the sources are empty
    #[arg(long, global = true)]
    demo: bool,
    /// The day that the demo data's dates are relative to
    #[arg(long, global = true, value_name = "DAY")]
    demo_as_of: Option<String>,
    /// Allow other addresses than loopback without TLS and authentication
    #[arg(long, global = true)]
    insecure_allow_remote: bool,
    /// A rule of the cache to be broken
    #[cfg(feature = "mutants")]
    #[arg(long, global = true, hide = true)]
    mutant: Option<crate::mutant::Mutant>,
}

fn assignment(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected SECTION.KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Settings {
    /// The effective configuration. Values are read by `config` alone, so that a bad one is refused in the same words
    /// wherever it comes from.
    pub(super) fn load(self, environment: &BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
        #[cfg(feature = "mutants")]
        crate::mutant::switch(self.mutant);
        let named = self.named().into_iter().filter_map(|(flag, key, value)| Some((flag, key.to_owned(), value?)));
        let set = self.set.iter().map(|(key, value)| ("--set", key.clone(), value.clone()));
        let flags: Vec<_> = named.chain(set).map(|(flag, key, value)| Flag { flag, key, value }).collect();
        Config::load(self.config.as_deref(), environment, &flags)
    }

    /// The flags that are settings: flag, key, and the value if it was given.
    fn named(&self) -> [(&'static str, &'static str, Option<String>); 9] {
        let on = |given: bool| given.then(|| "true".to_owned());
        [
            ("--listen", "server.listen", self.listen.clone()),
            ("--http-listen", "http.listen", self.http_listen.clone()),
            ("--metrics-listen", "metrics.listen", self.metrics_listen.clone()),
            ("--database-url", "database.url", self.database_url.clone()),
            ("--redis-url", "redis.url", self.redis_url.clone()),
            ("--sources-database-url", "sources.database_url", self.sources_database_url.clone()),
            ("--demo", "demo.enabled", on(self.demo)),
            ("--demo-as-of", "demo.as_of", self.demo_as_of.clone()),
            ("--insecure-allow-remote", "server.insecure_allow_remote", on(self.insecure_allow_remote)),
        ]
    }
}

/// The flags that are settings, with the settings' keys.
pub(super) fn flags() -> Vec<(&'static str, &'static str)> {
    Settings::default().named().into_iter().map(|(flag, key, _)| (flag, key)).collect()
}
