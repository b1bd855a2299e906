//! Rules between settings, each with what breaks otherwise. The reference lists them too.

use std::time::Duration;

use super::{
    AuthMode, AuthSettings, Config, ConfigError, Loaded, Problem, Secret, Setting, form::is_exposed,
    same_database::is_same_database,
};

/// For the parts of a load other than its slowest source.
const LOAD_OVERHEAD: Duration = Duration::from_millis(500);

/// Until another instance reads the outbox, and its first two rounds.
const FEED_TAKEOVER: Duration = Duration::from_millis(250);

/// A rule between two settings.
pub(super) struct Rule {
    pub(super) left: &'static str,
    pub(super) must: &'static str,
    pub(super) right: &'static str,
    /// What breaks otherwise.
    pub(super) otherwise: &'static str,
    holds: fn(&Config) -> bool,
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        left: "memory.ttl",
        must: "must be at most",
        right: "redis.ttl",
        otherwise: "The tier would keep documents after they have expired in the tier below.",
        holds: |config| config.memory.ttl <= config.redis.ttl,
    },
    Rule {
        left: "redis.ttl",
        must: "must be at most",
        right: "database.ttl",
        otherwise: "The tier would keep documents after they have expired in the tier below.",
        holds: |config| config.redis.ttl <= config.database.ttl,
    },
    Rule {
        left: "redis.ca",
        must: "needs TLS (rediss://) in",
        right: "redis.url",
        otherwise: "It would have no effect, and nothing would be encrypted.",
        holds: |config| config.redis.ca.is_none() || config.redis.url.as_ref().is_some_and(is_redis_by_tls),
    },
    Rule {
        left: "redis.cert",
        must: "needs",
        right: "redis.key",
        otherwise: "TLS needs both the certificate and its key.",
        holds: |config| config.redis.cert.is_some() == config.redis.key.is_some(),
    },
    Rule {
        left: "redis.cert",
        must: "needs",
        right: "redis.ca",
        otherwise: "A client certificate would be used only with stated authorities.",
        holds: |config| config.redis.cert.is_none() || config.redis.ca.is_some(),
    },
    Rule {
        left: "redis.server_names",
        must: "needs",
        right: "redis.ca",
        otherwise: "Any certificate of a public authority for such a name would do.",
        holds: |config| config.redis.server_names.is_empty() || config.redis.ca.is_some(),
    },
    Rule {
        left: "database.ttl",
        must: "must be at most",
        right: "database.stale_if_error",
        otherwise: "Rows would be swept while they are fresh.",
        holds: |config| config.database.ttl <= config.database.stale_if_error,
    },
    Rule {
        left: "privacy.encrypt",
        must: "needs",
        right: "privacy.keys_url",
        otherwise: "The users' keys would have no place.",
        holds: |config| !config.privacy.encrypt || config.privacy.keys_url.is_some(),
    },
    Rule {
        left: "privacy.keys_url",
        must: "needs",
        right: "privacy.master_key_file",
        otherwise: "A reader of the key database could read everything.",
        holds: |config| config.privacy.keys_url.is_none() || config.privacy.master_key_file.is_some(),
    },
    Rule {
        left: "privacy.master_key_file",
        must: "needs",
        right: "privacy.keys_url",
        otherwise: "It would have no effect.",
        holds: |config| config.privacy.master_key_file.is_none() || config.privacy.keys_url.is_some(),
    },
    Rule {
        left: "privacy.keys_url",
        must: "must not be the database of",
        right: "database.url",
        otherwise: "Each backup would hold the keys together with what they encrypt.",
        holds: |config| is_elsewhere(config.privacy.keys_url.as_ref(), Some(&config.database.url)),
    },
    Rule {
        left: "privacy.keys_url",
        must: "must not be the database of",
        right: "sources.database_url",
        otherwise: "The sources' database is the planning application's.",
        holds: |config| is_elsewhere(config.privacy.keys_url.as_ref(), config.sources.database_url.as_ref()),
    },
    Rule {
        left: "loads.budget",
        must: "must be at least 500ms longer than",
        right: "sources.hard_timeout",
        otherwise: "A load would time out just before it succeeds.",
        holds: |config| config.loads.budget >= config.sources.hard_timeout + LOAD_OVERHEAD,
    },
    Rule {
        left: "invalidation_log.lease",
        must: "must be more than twice",
        right: "invalidation_log.poll",
        otherwise: "One late poll would make every answer unverified.",
        holds: |config| config.invalidation_log.lease > 2 * config.invalidation_log.poll,
    },
    Rule {
        left: "load_lease.takeover",
        must: "must be more than twice",
        right: "load_lease.heartbeat",
        otherwise: "One late heartbeat would cause a takeover.",
        holds: |config| config.load_lease.takeover > 2 * config.load_lease.heartbeat,
    },
    Rule {
        left: "load_lease.wait_max",
        must: "must be longer than",
        right: "load_lease.takeover",
        otherwise: "All waiting instances would load at the moment when one of them should take over.",
        holds: |config| config.load_lease.wait_max > config.load_lease.takeover,
    },
    Rule {
        left: "prefetch.quiet",
        must: "must be at most",
        right: "prefetch.delay_max",
        otherwise: "A document would be due by delay_max before it is due by quiet.",
        holds: |config| config.prefetch.quiet <= config.prefetch.delay_max,
    },
    Rule {
        left: "sources.soft_timeout",
        must: "must be at most",
        right: "sources.hard_timeout",
        otherwise: "The source would time out before a load can answer without it.",
        holds: |config| config.sources.soft_timeout <= config.sources.hard_timeout,
    },
    Rule {
        left: "sources.replica_wait",
        must: "must be at most",
        right: "sources.hard_timeout",
        otherwise: "The source would time out before a load can read the primary.",
        holds: |config| config.sources.replica_wait <= config.sources.hard_timeout,
    },
    Rule {
        left: "sources.relay_database_url",
        must: "must be empty with a file per user in",
        right: "sources.database_url",
        otherwise: "Users' files have no outbox: their changes are seen by looking at the files.",
        holds: |config| config.sources.relay_database_url.is_none() || config.sources.files().is_none(),
    },
    Rule {
        left: "sources.feed_lease",
        must: "must be longer than a takeover of the change feed (250ms) and three times",
        right: "invalidation_log.poll",
        otherwise: "Each takeover would make answers unverified.",
        holds: |config| {
            !config.sources.change_feed || config.sources.feed_lease > FEED_TAKEOVER + 3 * config.invalidation_log.poll
        },
    },
    Rule {
        left: "sources.file_fallbacks",
        must: "needs {user} in",
        right: "sources.database_url",
        otherwise: "They would have no effect.",
        holds: |config| config.sources.file_fallbacks.is_empty() || config.sources.files().is_some(),
    },
    Rule {
        left: "sources.file_copy_max",
        must: "must be at most",
        right: "sources.file_copies_bytes_max",
        otherwise: "The largest file would wait for room for ever.",
        holds: |config| config.sources.file_copy_max <= config.sources.file_copies_bytes_max,
    },
    Rule {
        left: "ai.soft_timeout",
        must: "must be at most",
        right: "ai.hard_timeout",
        otherwise: "The call would time out before a load can answer without it.",
        holds: |config| config.ai.soft_timeout <= config.ai.hard_timeout,
    },
    Rule {
        left: "ai.base_url",
        must: "needs",
        right: "ai.model",
        otherwise: "The endpoint would refuse every call.",
        holds: |config| config.ai.base_url.is_none() || !config.ai.model.is_empty(),
    },
    Rule {
        left: "ai.base_url",
        must: "needs https, or plain http allowed by",
        right: "ai.insecure_http",
        otherwise: "The network between could read and change questions and answers.",
        holds: |config| config.ai.insecure_http || !config.ai.base_url.as_deref().is_some_and(is_exposed),
    },
    Rule {
        left: "ai.retry_pause",
        must: "must be at most",
        right: "ai.retry_pause_max",
        otherwise: "The first pause would be longer than the longest.",
        holds: |config| config.ai.retry_pause <= config.ai.retry_pause_max,
    },
    Rule {
        left: "tls.cert",
        must: "needs",
        right: "tls.key",
        otherwise: "TLS needs both the certificate and its key.",
        holds: |config| config.tls.cert.is_some() == config.tls.key.is_some(),
    },
    Rule {
        left: "tls.client_ca",
        must: "needs",
        right: "tls.cert",
        otherwise: "Client certificates need TLS.",
        holds: |config| config.tls.client_ca.is_none() || config.tls.cert.is_some(),
    },
    Rule {
        left: "auth.mode",
        must: "needs",
        right: "auth.tokens_file",
        otherwise: "All callers would be refused.",
        holds: |config| config.auth.mode != AuthMode::Token || config.auth.tokens_file.is_some(),
    },
    Rule {
        left: "auth.mode",
        must: "needs",
        right: "auth.principals_file",
        otherwise: "All callers would be refused.",
        holds: |config| config.auth.mode != AuthMode::Mtls || config.auth.principals_file.is_some(),
    },
    Rule {
        left: "auth.mode",
        must: "needs",
        right: "tls.client_ca",
        otherwise: "Clients would not be asked for a certificate.",
        holds: |config| config.auth.mode != AuthMode::Mtls || config.tls.client_ca.is_some(),
    },
    Rule {
        left: "auth.mode",
        must: "needs, if it is jwt, auth.jwt_keys_file or",
        right: "auth.jwt_keys_url",
        otherwise: "All callers would be refused.",
        holds: |config| config.auth.mode != AuthMode::Jwt || config.auth.has_jwt_keys(),
    },
    Rule {
        left: "auth.mode",
        must: "must not be none with auth.jwt_keys_file or",
        right: "auth.jwt_keys_url",
        otherwise: "Every caller could do everything, with a token or without.",
        holds: |config| config.auth.mode != AuthMode::None || !config.auth.has_jwt_keys(),
    },
    Rule {
        left: "auth.jwt_keys_file",
        must: "must be empty with",
        right: "auth.jwt_keys_url",
        otherwise: "One of them would have no effect.",
        holds: |config| config.auth.jwt_keys_file.is_none() || config.auth.jwt_keys_url.is_none(),
    },
    Rule {
        left: "auth.jwt_issuer",
        must: "must be set with auth.jwt_keys_file or",
        right: "auth.jwt_keys_url",
        otherwise: "Tokens that the same keys sign for others would count.",
        holds: |config| !config.auth.has_jwt_keys() || !config.auth.jwt_issuer.is_empty(),
    },
    Rule {
        left: "auth.jwt_audience",
        must: "must be set with auth.jwt_keys_file or",
        right: "auth.jwt_keys_url",
        otherwise: "Tokens that are meant for other services would count.",
        holds: |config| !config.auth.has_jwt_keys() || !config.auth.jwt_audience.is_empty(),
    },
];

impl AuthSettings {
    fn has_jwt_keys(&self) -> bool {
        self.jwt_keys_file.is_some() || self.jwt_keys_url.is_some()
    }
}

fn is_elsewhere(one: Option<&Secret>, other: Option<&Secret>) -> bool {
    one.zip(other).is_none_or(|(one, other)| !is_same_database(one, other))
}

fn is_redis_by_tls(url: &Secret) -> bool {
    ["rediss", "valkeys"].iter().any(|scheme| url.expose().starts_with(scheme))
}

impl Loaded {
    /// The rules that do not hold.
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

    /// Refuses listeners that are reachable from other machines without encryption and authentication. Only commands
    /// that listen call it, so that a migration can share the server's configuration.
    pub fn check_listeners(&self) -> Result<(), ConfigError> {
        let config = &self.config;
        if config.server.insecure_allow_remote {
            return Ok(());
        }
        let guarded = config.tls.cert.is_some() && config.auth.mode != AuthMode::None;
        const GUARD: &str = "needs TLS (tls.cert, tls.key) and auth.mode";
        let listeners = [
            Some(("server.listen", config.server.listen, guarded, GUARD)),
            config.http.listen.map(|listen| ("http.listen", listen, guarded, GUARD)),
            Some(("metrics.listen", config.metrics.listen, config.metrics.allow_remote, "needs metrics.allow_remote")),
        ];
        let problems: Vec<_> = listeners
            .into_iter()
            .flatten()
            .filter(|(_, address, allowed, _)| !allowed && !address.ip().is_loopback())
            .map(|(key, _, _, needs)| Problem::Remote { origin: self.origin(key).clone(), key, needs })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}
