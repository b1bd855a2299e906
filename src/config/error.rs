//! What can be wrong with the configuration. Everything wrong is reported at once, one line each; values are never
//! quoted, because they may be secrets: their origin says where to look.

use std::{fmt, path::PathBuf};

use super::Origin;

/// The exit code for a configuration that cannot be used.
const EXIT_USAGE: u8 = 2;
/// `EX_CONFIG` of sysexits.h: the configuration is readable, but starting with it is refused.
const EXIT_REFUSED: u8 = 78;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file is not TOML.
    #[error("{origin}: {cause}")]
    Malformed {
        /// The file and the line.
        origin: Origin,
        /// What the parser says.
        cause: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting {key}{}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// Where it was said.
        origin: Origin,
        /// What was said.
        key: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// The value is not one of the setting's.
    #[error("{origin}: {key}: expected {expected}")]
    Invalid {
        /// Where it was said.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// What its value has to look like.
        expected: String,
    },
    /// The file that holds a secret cannot be read.
    #[error("{origin}: {key}: {}: {cause}", path.display())]
    SecretFile {
        /// Where it was said.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The same layer says it twice.
    #[error("{second}: {key}: is already set by {first}")]
    Twice {
        /// The setting.
        key: &'static str,
        /// Where it was said first.
        first: Origin,
        /// Where it was said again.
        second: Origin,
    },
    /// Two settings do not fit together.
    #[error("{0}")]
    Conflict(String),
    /// A listener that everybody could reach.
    #[error("{origin}: {key}: an address that others reach {needs}; --insecure-allow-remote lets everybody in instead")]
    Remote {
        /// Where it was said.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// What makes it safe.
        needs: &'static str,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!("; did you mean {key}?")).unwrap_or_default()
}

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// The process's exit code: 78 if it is only refused for its listeners, else 2.
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
