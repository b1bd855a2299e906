//! File descriptors: counted before they run out.
//!
//! Every connection of a caller is one. Without one left, loads cannot open a database's file or a connection, and
//! invalidations fail. So callers get what the rest of the process does not need.

use super::databases::connections_to_cache_database;
use crate::{
    config::{Config, Secret},
    database::Dialect,
};

/// The database, its log, and the index of that.
const OF_SQLITE_CONNECTION: usize = 3;
/// Connections of commands and notifications, to several nodes of a cluster.
const OF_REDIS: usize = 24;
/// A user's file is opened, copied and read.
const OF_FILE_LOAD: usize = 4;
/// Listeners, probes, the runtime, the log, the exporters, and files that are read for a moment.
const OTHERS: usize = 64;

/// How the limit of file descriptors and the settings go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// The limit of this process.
    pub(crate) limit: u64,
    /// What the process needs at most beside connections of callers.
    pub(crate) beside: usize,
    /// `server.max_connections`, or as many as fit.
    pub(crate) connections: usize,
}

impl Descriptors {
    fn of(config: &Config, limit: u64) -> Self {
        let beside = beside_connections(config);
        let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(beside);
        Self { limit, beside, connections: config.server.max_connections.min(left.max(1)) }
    }

    /// For a process that may have this many descriptors once it has raised its limit. None: the kernel does not say.
    pub(crate) fn possible(config: &Config) -> Option<Self> {
        let (_soft, hard) = rlimit::Resource::NOFILE.get().ok()?;
        Some(Self::of(config, hard))
    }

    /// The limit with which all of `server.max_connections` fit.
    pub(crate) fn wanted(&self, config: &Config) -> usize {
        self.beside + config.server.max_connections
    }
}

/// Raises this process's limit as far as it may, and lowers `server.max_connections` to what fits.
pub(crate) fn fit(config: &mut Config) {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the limit of file descriptors is not raised; server.max_connections stays as it is"
            );
            return;
        }
    };
    let fitting = Descriptors::of(config, limit);
    if fitting.connections < config.server.max_connections {
        tracing::warn!(
            limit,
            wanted = fitting.wanted(config),
            configured = config.server.max_connections,
            connections = fitting.connections,
            "too few file descriptors for server.max_connections; fewer connections are accepted"
        );
        config.server.max_connections = fitting.connections;
    }
}

/// What an instance opens at most, beside connections of callers.
fn beside_connections(config: &Config) -> usize {
    let sources = &config.sources;
    let pool = |url: &Secret, connections: u32| {
        let each = if Dialect::of_url(url.expose()).is_sqlite() { OF_SQLITE_CONNECTION } else { 1 };
        connections as usize * each
    };
    let of_sources = match (&sources.database_url, sources.files()) {
        (_, Some(_)) => config.loads.max_concurrent * OF_FILE_LOAD,
        // A replica has a primary beside it.
        (Some(url), None) => 2 * pool(url, sources.max_connections),
        // Counted with the cache's.
        (None, None) => 0,
    };
    let redis = if config.redis.url.is_some() { OF_REDIS } else { 0 };
    let cache = pool(&config.database.url, connections_to_cache_database(config));
    cache + of_sources + redis + config.sources.max_concurrent + OTHERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_the_rest_does_not_need() {
        let config = Config::default();
        let beside = beside_connections(&config);
        assert!((100..400).contains(&beside), "{beside}");
        for (limit, connections) in [(1024, 1024 - beside), (65_536, 1000), (u64::MAX, 1000), (64, 1)] {
            assert_eq!(Descriptors::of(&config, limit).connections, connections, "{limit}");
        }
    }
}
