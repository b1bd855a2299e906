//! Defaults < file < environment < flags, and for every value where it came from.

use std::{
    collections::BTreeMap,
    fmt, fs,
    mem::discriminant,
    path::{Path, PathBuf},
};

use super::{Config, ConfigError, Problem, SETTINGS, Setting, file};

/// What the environment's variables that are settings begin with.
const PREFIX: &str = "USERDATA__";
/// Ends the name of a setting whose value is in a file.
const IN_FILE: &str = "_file";
/// A section that is also a switch: `demo = true` reads better than `demo.enabled = true`.
const ALIAS: (&str, &str) = ("demo", "demo.enabled");
/// Below this a name has so little in common with another that the suggestion would mislead.
const SIMILARITY_MIN: f64 = 0.6;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag.
    Flag {
        /// Its name, with dashes.
        flag: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Environment { variable } => formatter.write_str(variable),
            Self::Flag { flag } => formatter.write_str(flag),
        }
    }
}

/// A setting as a flag gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag, with dashes.
    pub flag: &'static str,
    /// `section.key`.
    pub key: String,
    /// The value.
    pub value: String,
}

/// One layer's word on one setting.
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// The effective configuration.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where those came from that are not defaults.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The files that secrets were read from.
    pub secret_files: BTreeMap<&'static str, PathBuf>,
}

impl Loaded {
    /// Where the value of a setting came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

/// The process's environment, for [`Config::load`]: it is handed in, so that tests need not change theirs.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

impl Config {
    /// The effective settings, or everything that is wrong with what was said.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &[Flag],
    ) -> Result<Loaded, ConfigError> {
        let mut loaded = Loaded::default();
        let mut problems = Vec::new();

        let from_file = file.map_or_else(|| Ok(Vec::new()), file::read).unwrap_or_else(|problem| vec![Err(problem)]);
        // Order: a later layer overrides an earlier one.
        let assignments = from_file
            .into_iter()
            .chain(environment.iter().filter_map(|(name, value)| from_variable(name, value)).map(Ok))
            .chain(flags.iter().map(from_flag).map(Ok));
        for assignment in assignments {
            if let Err(problem) = assignment.and_then(|assignment| loaded.assign(assignment)) {
                problems.push(problem);
            }
        }
        // A value that was refused left its default behind: comparing that one would only confuse.
        if problems.is_empty() {
            problems.extend(loaded.conflicts());
        }
        if problems.is_empty() { Ok(loaded) } else { Err(ConfigError { problems }) }
    }
}

/// `USERDATA__MEMORY__TTL` is `memory.ttl`.
fn from_variable(name: &str, value: &str) -> Option<Assignment> {
    let key = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
    Some(Assignment { key, value: value.to_owned(), origin: Origin::Environment { variable: name.to_owned() } })
}

fn from_flag(flag: &Flag) -> Assignment {
    Assignment { key: flag.key.clone(), value: flag.value.clone(), origin: Origin::Flag { flag: flag.flag } }
}

impl Loaded {
    fn assign(&mut self, Assignment { key, value, origin }: Assignment) -> Result<(), Problem> {
        let key = if key == ALIAS.0 { ALIAS.1 } else { &key };
        let (setting, value, file) = if let Some(setting) = Setting::find(key) {
            (setting, value, None)
        } else if let Some(setting) = secret_in_file(key) {
            (setting, read_secret(setting, &value, &origin)?, Some(value.into()))
        } else {
            return Err(unknown(origin, key.to_owned()));
        };
        if let Some(first) = self.origins.get(setting.key)
            && discriminant(first) == discriminant(&origin)
        {
            return Err(Problem::Twice { key: setting.key, first: first.clone(), second: origin });
        }
        if !(setting.set)(&mut self.config, &value) {
            return Err(Problem::Invalid { origin, key: setting.key, expected: (setting.expected)() });
        }
        self.origins.insert(setting.key, origin);
        match file {
            Some(file) => self.secret_files.insert(setting.key, file),
            // A later layer says it itself.
            None => self.secret_files.remove(setting.key),
        };
        Ok(())
    }
}

/// `ai.api_key_file` names a file that holds `ai.api_key`.
fn secret_in_file(key: &str) -> Option<&'static Setting> {
    Setting::find(key.strip_suffix(IN_FILE)?).filter(|setting| (setting.secret)())
}

/// Without the line's end, which editors and secret stores add.
fn read_secret(setting: &'static Setting, path: &str, origin: &Origin) -> Result<String, Problem> {
    let text = fs::read_to_string(path).map_err(|error| Problem::SecretFile {
        origin: origin.clone(),
        key: setting.key,
        path: path.into(),
        cause: error.to_string(),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The key with what it most resembles.
pub(super) fn unknown(origin: Origin, key: String) -> Problem {
    let suggestion = SETTINGS
        .iter()
        .flat_map(|setting| [setting.key, setting.path().0])
        .filter(|name| *name != key)
        .map(|name| (strsim::normalized_damerau_levenshtein(&key, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name.to_owned());
    Problem::Unknown { origin, key, suggestion }
}

#[cfg(test)]
mod tests;
