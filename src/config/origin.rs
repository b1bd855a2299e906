//! Where the value of a setting came from.

use std::{fmt, path::PathBuf};

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    Environment {
        variable: String,
    },
    Flag {
        /// With dashes.
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

/// A setting given as a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// With dashes.
    pub flag: &'static str,
    /// `section.key`.
    pub key: String,
    pub value: String,
}

/// A setting in one layer.
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}
