//! Problems of a configuration. All are reported together, one line each. Values are never quoted, because they can be
//! secrets: the origin says where to look.

use std::{fmt, path::PathBuf};

use super::{Origin, SETTINGS};

const EXIT_USAGE: u8 = 2;
/// `EX_CONFIG` of sysexits.h: valid, but unsafe.
const EXIT_REFUSED: u8 = 78;
/// Less similar suggestions would mislead.
const SIMILARITY_MIN: f64 = 0.6;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: String },
    /// Not TOML.
    #[error("{origin}: {cause}")]
    Malformed { origin: Origin, cause: String },
    #[error("{origin}: there is no setting {key}{}", did_you_mean(suggestion.as_deref()))]
    Unknown { origin: Origin, key: String, suggestion: Option<String> },
    #[error("{origin}: {key}: expected {expected}")]
    Invalid { origin: Origin, key: &'static str, expected: String },
    /// The file that holds a secret cannot be read.
    #[error("{origin}: {key}: {}: {cause}", path.display())]
    SecretFile { origin: Origin, key: &'static str, path: PathBuf, cause: String },
    /// Twice in the same layer.
    #[error("{second}: {key}: is already set by {first}")]
    Twice { key: &'static str, first: Origin, second: Origin },
    /// A rule between two settings does not hold.
    #[error("{0}")]
    Conflict(String),
    /// A listener that other machines could reach.
    #[error(
        "{origin}: {key}: an address other than loopback {needs}; --insecure-allow-remote allows it for everyone instead"
    )]
    Remote { origin: Origin, key: &'static str, needs: &'static str },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!("; did you mean {key}?")).unwrap_or_default()
}

/// All problems of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// The exit code of the process: 78 if only listeners are refused, else 2.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let refused = self.problems.iter().all(|problem| matches!(problem, Problem::Remote { .. }));
        if refused { EXIT_REFUSED } else { EXIT_USAGE }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// With the most similar key as a suggestion.
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
