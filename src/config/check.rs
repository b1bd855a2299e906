//! What has to hold between settings, each with what goes wrong otherwise: for the reference too.

use std::time::Duration;

use super::{AuthMode, Config, ConfigError, Loaded, Problem, Setting};

/// Half a second for everything in a load that is not its slowest source.
const LOAD_OVERHEAD: Duration = Duration::from_millis(500);

/// One thing that has to hold between two settings.
pub(super) struct Rule {
    pub(super) left: &'static str,
    pub(super) must: &'static str,
    pub(super) right: &'static str,
    /// What goes wrong otherwise.
    pub(super) otherwise: &'static str,
    holds: fn(&Config) -> bool,
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        left: "memory.ttl",
        must: "must be at most",
        right: "redis.ttl",
        otherwise: "A tier that keeps longer than the one below it only keeps what has expired.",
        holds: |config| config.memory.ttl <= config.redis.ttl,
    },
    Rule {
        left: "redis.ttl",
        must: "must be at most",
        right: "database.ttl",
        otherwise: "A tier that keeps longer than the one below it only keeps what has expired.",
        holds: |config| config.redis.ttl <= config.database.ttl,
    },
    Rule {
        left: "database.ttl",
        must: "must be at most",
        right: "database.stale_max",
        otherwise: "Rows would be swept while they are still fresh.",
        holds: |config| config.database.ttl <= config.database.stale_max,
    },
    Rule {
        left: "flight.budget",
        must: "must be at least 500ms longer than",
        right: "sources.hard_timeout",
        otherwise: "A load would die just before it succeeds.",
        holds: |config| config.flight.budget >= config.sources.hard_timeout + LOAD_OVERHEAD,
    },
    Rule {
        left: "fence.lease",
        must: "must be more than twice",
        right: "fence.poll",
        otherwise: "One late poll would make every answer unverified.",
        holds: |config| config.fence.lease > 2 * config.fence.poll,
    },
    Rule {
        left: "load_lease.takeover",
        must: "must be more than twice",
        right: "load_lease.beat",
        otherwise: "A single late beat would make others take over.",
        holds: |config| config.load_lease.takeover > 2 * config.load_lease.beat,
    },
    Rule {
        left: "load_lease.wait_max",
        must: "must be longer than",
        right: "load_lease.takeover",
        otherwise: "Everybody would load at the very moment at which one of them should take over.",
        holds: |config| config.load_lease.wait_max > config.load_lease.takeover,
    },
    Rule {
        left: "reassembly.quiet",
        must: "must be at most",
        right: "reassembly.delay_max",
        otherwise: "Documents would be put off at last before they are due at first.",
        holds: |config| config.reassembly.quiet <= config.reassembly.delay_max,
    },
    Rule {
        left: "sources.soft_timeout",
        must: "must be at most",
        right: "sources.hard_timeout",
        otherwise: "A source would be given up before anything could be answered without it.",
        holds: |config| config.sources.soft_timeout <= config.sources.hard_timeout,
    },
    Rule {
        left: "ai.soft_timeout",
        must: "must be at most",
        right: "ai.hard_timeout",
        otherwise: "A call would be given up before anything could be answered without it.",
        holds: |config| config.ai.soft_timeout <= config.ai.hard_timeout,
    },
    Rule {
        left: "ai.base_url",
        must: "needs",
        right: "ai.model",
        otherwise: "Every call would be refused by the endpoint.",
        holds: |config| config.ai.base_url.is_none() || !config.ai.model.is_empty(),
    },
    Rule {
        left: "tls.cert",
        must: "needs",
        right: "tls.key",
        otherwise: "A certificate is of no use without its key, nor a key without its certificate.",
        holds: |config| config.tls.cert.is_some() == config.tls.key.is_some(),
    },
    Rule {
        left: "tls.client_ca",
        must: "needs",
        right: "tls.cert",
        otherwise: "Certificates are shown on encrypted connections only.",
        holds: |config| config.tls.client_ca.is_none() || config.tls.cert.is_some(),
    },
    Rule {
        left: "auth.mode",
        must: "needs",
        right: "auth.tokens_file",
        otherwise: "Nobody could call.",
        holds: |config| config.auth.mode != AuthMode::Token || config.auth.tokens_file.is_some(),
    },
    Rule {
        left: "auth.mode",
        must: "needs",
        right: "auth.principals_file",
        otherwise: "Nobody could call.",
        holds: |config| config.auth.mode != AuthMode::Mtls || config.auth.principals_file.is_some(),
    },
    Rule {
        left: "auth.mode",
        must: "needs",
        right: "tls.client_ca",
        otherwise: "Nobody would be asked for a certificate.",
        holds: |config| config.auth.mode != AuthMode::Mtls || config.tls.client_ca.is_some(),
    },
];

impl Loaded {
    /// What does not fit together.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = Problem> {
        RULES.iter().filter(|rule| !(rule.holds)(&self.config)).map(|rule| {
            Problem::Conflict(format!("{} {} {}", self.described(rule.left), rule.must, self.described(rule.right)))
        })
    }

    fn described(&self, key: &str) -> String {
        let value = Setting::find(key).map(|setting| (setting.get)(&self.config)).unwrap_or_default();
        let value = if value.is_empty() { "not set" } else { &value };
        format!("{key} ({value}, {})", self.origin(key))
    }

    /// Refuses listeners that others can reach without having to say who they are, or with everybody listening in.
    /// Asked by what listens, so that a migration may share the server's configuration.
    pub fn check_listeners(&self) -> Result<(), ConfigError> {
        let config = &self.config;
        if config.server.insecure_allow_remote {
            return Ok(());
        }
        let guarded = config.tls.cert.is_some() && config.auth.mode != AuthMode::None;
        let listeners = [
            ("server.listen", config.server.listen, guarded, "needs TLS (tls.cert, tls.key) and auth.mode"),
            ("metrics.listen", config.metrics.listen, config.metrics.allow_remote, "needs metrics.allow_remote"),
        ];
        let problems: Vec<_> = listeners
            .into_iter()
            .filter(|(_, address, allowed, _)| !allowed && !address.ip().is_loopback())
            .map(|(key, _, _, needs)| Problem::Remote { origin: self.origin(key).clone(), key, needs })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}
