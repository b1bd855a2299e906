//! Layers of settings: file over defaults, environment over file, flags over environment.

use std::{
    collections::BTreeMap,
    fs,
    mem::discriminant,
    path::{Path, PathBuf},
};

use super::{
    Config, ConfigError, Problem, Setting,
    error::unknown,
    file,
    origin::{Assignment, Flag, Origin},
};

/// Prefix of environment variables that are settings.
const PREFIX: &str = "USERDATA__";
/// Suffix of the key of a setting whose value is in a file.
const IN_FILE: &str = "_file";
/// A section that is also a switch: `demo = true` means `demo.enabled = true`.
const ALIAS: (&str, &str) = ("demo", "demo.enabled");

/// The effective configuration.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub config: Config,
    /// Of the settings that are not defaults.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The files of secrets.
    pub secret_files: BTreeMap<&'static str, PathBuf>,
}

impl Loaded {
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

/// The environment of the process, for [`Config::load`]. Tests pass another one.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

impl Config {
    /// The effective settings, or all problems.
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
        // A refused value leaves the default in place, and a conflict with that would be misleading.
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
            // A later layer overrides the file.
            None => self.secret_files.remove(setting.key),
        };
        Ok(())
    }
}

/// `ai.api_key_file` names a file that holds `ai.api_key`.
fn secret_in_file(key: &str) -> Option<&'static Setting> {
    Setting::find(key.strip_suffix(IN_FILE)?).filter(|setting| (setting.secret)())
}

/// Without the byte order mark and the line end that editors and secret stores add.
fn read_secret(setting: &'static Setting, path: &str, origin: &Origin) -> Result<String, Problem> {
    let text = fs::read_to_string(path).map_err(|error| Problem::SecretFile {
        origin: origin.clone(),
        key: setting.key,
        path: path.into(),
        cause: error.to_string(),
    })?;
    Ok(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests;
