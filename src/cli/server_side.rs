//! What `main` starts: the parsed options of serve, migrate and demo, with the configuration they share.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};

use super::{OutputArgs, output::Format};
use crate::config::{Config, ConfigError, Flag, Loaded};

/// Work on the server's side.
#[derive(Debug)]
pub enum Command {
    /// Serve until a signal. The listeners have been checked.
    Serve(Box<Loaded>),
    /// Change or look at the database's tables.
    Migrate(Migration, Box<Loaded>),
    /// Change or look at the triggers on the sources' tables.
    Triggers(Triggers, Box<Loaded>),
    /// Write the demo data if the sources are empty.
    DemoSeed(Box<Loaded>),
}

impl Command {
    /// The settings that it runs with.
    #[must_use]
    pub fn config(&self) -> &Config {
        let (Self::Serve(loaded) | Self::Migrate(_, loaded) | Self::Triggers(_, loaded) | Self::DemoSeed(loaded)) =
            self;
        &loaded.config
    }
}

/// What to do with the migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// Apply what is missing.
    Up,
    /// Take back the latest ones.
    Down {
        /// How many.
        steps: u32,
    },
    /// Tell which are applied.
    Status(Format),
}

/// What to do with the triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triggers {
    /// Install what is missing or of another version, and the outbox.
    Install,
    /// Tell which tables have them.
    Status(Format),
    /// Drop them.
    Remove,
}

#[derive(Debug, Subcommand)]
pub(super) enum TriggerAction {
    /// Install them, and the outbox that they write; safe to repeat
    Install(Settings),
    /// Tell which tables have them
    Status {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Drop them; what is in the outbox stays
    Remove(Settings),
}

impl TriggerAction {
    pub(super) fn split(self) -> (Triggers, Settings) {
        match self {
            Self::Install(settings) => (Triggers::Install, settings),
            Self::Status { settings, output } => (Triggers::Status(output.output), settings),
            Self::Remove(settings) => (Triggers::Remove, settings),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Direction {
    /// Apply every migration that is missing
    Up(Settings),
    /// Take back the latest migrations, and with them what their tables hold
    Down {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
        #[command(flatten)]
        settings: Settings,
    },
    /// Tell which migrations are applied
    Status {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl Direction {
    pub(super) fn split(self) -> (Migration, Settings) {
        match self {
            Self::Up(settings) => (Migration::Up, settings),
            Self::Down { steps, settings } => (Migration::Down { steps }, settings),
            Self::Status { settings, output } => (Migration::Status(output.output), settings),
        }
    }
}

/// The configuration's flags: the same ones wherever a configuration is used, so that `config show` and `migrate`
/// understand the command line that `serve` is started with.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Settings {
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting, by the name `config show` gives it; repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Where gRPC is served
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where the metrics, liveness and readiness are served
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<String>,
    /// The cache's database, sqlite:// or postgres://
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The Redis tier
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// Where the sources' tables are, if not in the cache's database
    #[arg(long, value_name = "URL")]
    sources_database_url: Option<String>,
    /// Seed the demo data if the sources are empty
    #[arg(long)]
    demo: bool,
    /// The day the demo data's dates count from
    #[arg(long, value_name = "DAY")]
    demo_as_of: Option<String>,
    /// Listen beyond loopback although nobody has to authenticate
    #[arg(long)]
    insecure_allow_remote: bool,
    /// A rule of the cache to be broken
    #[cfg(feature = "mutants")]
    #[arg(long, hide = true)]
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
    fn named(&self) -> [(&'static str, &'static str, Option<String>); 8] {
        let on = |given: bool| given.then(|| "true".to_owned());
        [
            ("--listen", "server.listen", self.listen.clone()),
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
