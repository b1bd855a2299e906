//! Every instrument: its name, its meaning, and all values of its attributes.
//!
//! One table, because names are a contract with dashboards and alerts. [`Meter`](super::Meter) creates instruments from it
//! only, docs/observability.md lists it, and a test compares a scrape with it (`tests/it/telemetry`). Names of RPC, process
//! and pool metrics are those of OpenTelemetry's semantic conventions.
//!
//! Invariant: attribute values are closed lists, never ids, so the number of series is known at start.

use InstrumentKind::{Counter, Gauge, Histogram, UpDownCounter};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InstrumentKind {
    /// Only grows.
    Counter,
    /// A number of things; a sum over instances makes sense.
    UpDownCounter,
    /// A level; a sum over instances makes no sense.
    Gauge,
    /// The upper bounds of the buckets.
    Histogram(&'static [f64]),
}

#[derive(Clone, Copy, Debug)]
pub struct Instrument {
    /// The name in OTLP. A scrape has `_` for `.`, then the unit, then `_total` for a counter.
    pub name: &'static str,
    pub kind: InstrumentKind,
    /// In UCUM.
    pub unit: &'static str,
    pub description: &'static str,
    pub attributes: &'static [Attribute],
}

#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    pub name: &'static str,
    /// All possible values.
    pub values: &'static [&'static str],
}

/// From the semantic conventions for RPCs.
const CALL_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// A memory hit takes a microsecond, Redis some hundred, a tier that hangs its timeout (50 to 200 ms).
const LOOKUP_SECONDS: &[f64] = &[
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
];
/// Up to the default hard timeout of an AI call.
const LOAD_SECONDS: &[f64] =
    &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const TIER: Attribute = Attribute { name: "tier", values: &["memory", "redis", "database"] };
const MEMORY: Attribute = Attribute { name: "tier", values: &["memory"] };
const SOURCE: Attribute = Attribute {
    name: "source",
    values: &["onboarding", "strategy", "ai_analysis", "gap_analysis", "performance", "recommendations"],
};
const SECTION: Attribute = Attribute {
    name: "section",
    values: &["onboarding", "strategy", "ai_analysis", "gap_analysis", "performance", "recommendations", "derived"],
};
const PROTOCOL: Attribute = Attribute { name: "rpc.system.name", values: &["grpc", "http"] };
const METHOD: Attribute = Attribute {
    name: "rpc.method",
    values: &[
        "userdata.v1.UserDataService/GetComprehensiveUserData",
        "userdata.v1.UserDataService/InvalidateCache",
        "userdata.v1.UserDataService/GetCacheStats",
        "userdata.v1.UserDataService/CleanupCache",
        "userdata.v1.UserDataService/WarmCache",
        "grpc.health.v1.Health",
        "grpc.reflection.ServerReflection",
        "_OTHER",
    ],
};
/// In the order of their numbers.
pub const CODE_NAMES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const CODE: Attribute = Attribute { name: "rpc.response.status_code", values: CODE_NAMES };
const POOL: Attribute = Attribute {
    name: "db.client.connection.pool.name",
    values: &["cache", "invalidation_log", "invalidation_log_commits", "sources", "outbox", "keys"],
};

/// Writes, for each `NAME = "name", kind, "unit", "description", [attributes];`, a constant, and the list of all.
macro_rules! instruments {
    ($($constant:ident = $name:literal, $kind:expr, $unit:literal, $description:literal, [$($attribute:expr),*];)+) => {
        $(
            pub const $constant: Instrument = Instrument {
                name: $name,
                kind: $kind,
                unit: $unit,
                description: $description,
                attributes: &[$($attribute),*],
            };
        )+
        pub const INSTRUMENTS: &[Instrument] = &[$($constant),+];
    };
}

instruments! {
    CALL_DURATION = "rpc.server.call.duration", Histogram(CALL_SECONDS), "s",
        "Time from a request's head to the last byte of its response, or until the caller left (CANCELLED)",
        [PROTOCOL, METHOD, CODE];
    REQUESTS_IN_FLIGHT = "userdata.requests.in_flight", UpDownCounter, "{request}",
        "Requests in progress", [PROTOCOL, METHOD];
    CONNECTIONS = "userdata.connections", UpDownCounter, "{connection}",
        "Connections of callers, by whether a request has been admitted on them", [Attribute {
            name: "state",
            values: &["no_request_yet", "admitted"],
        }];
    CONNECTIONS_MAX = "userdata.connections.max", UpDownCounter, "{connection}",
        "Connections of callers at most", [];
    CONNECTIONS_ENDED = "userdata.connections.ended", Counter, "{connection}",
        "Connections that the server ended; full: for a new one", [Attribute {
            name: "reason",
            values: &["full", "no_request", "idle", "unread", "refused", "credentials"],
        }];
    SERVED = "userdata.served", Counter, "{document}",
        "Documents served, by where they came from", [Attribute {
            name: "status",
            values: &["HIT_MEMORY", "HIT_REDIS", "HIT_DATABASE", "SHARED", "ASSEMBLED", "REFRESHED", "STALE"],
        }];
    SUPERSEDED = "userdata.superseded", Counter, "{document}",
        "Copies found in a tier and not used because an invalidation had outdated them", [];
    UNVERIFIED = "userdata.unverified", Counter, "{document}",
        "Documents handed out while the invalidation log could not be read", [];

    LOOKUP_DURATION = "userdata.cache.lookup.duration", Histogram(LOOKUP_SECONDS), "s",
        "One look-up in a tier; below memory, a hit can still be outdated",
        [TIER, Attribute { name: "outcome", values: &["hit", "miss", "error"] }];
    CACHE_ENTRIES = "userdata.cache.entries", UpDownCounter, "{document}",
        "Documents stored; GetCacheStats counts the other tiers", [MEMORY];
    // Not "By": the scrape would say "bytes" twice.
    CACHE_BYTES = "userdata.cache.bytes", UpDownCounter, "{byte}",
        "Bytes stored", [MEMORY];
    CACHE_EVICTIONS = "userdata.cache.evictions", Counter, "{document}",
        "Documents evicted or not admitted for lack of space", [MEMORY];
    CACHE_WRITES = "userdata.cache.writes", Counter, "{write}",
        "Documents written to a tier; skipped: the stored one is newer, or the circuit is open",
        [TIER, Attribute { name: "outcome", values: &["ok", "error", "skipped"] }];

    SOURCE_DURATION = "userdata.source.duration", Histogram(LOAD_SECONDS), "s",
        "One run of a source; abandoned: its load ended first",
        [SOURCE, Attribute { name: "outcome", values: &["ok", "error", "timeout", "abandoned"] }];
    SOURCE_IN_FLIGHT = "userdata.source.in_flight", UpDownCounter, "{run}",
        "Runs of a source in progress", [SOURCE];
    AI_CALLS = "userdata.ai.calls", Counter, "{call}",
        "Calls to the AI endpoint that have ended, including retries; invalid: the response could not be used",
        [Attribute { name: "outcome", values: &["ok", "invalid", "error"] }];
    AI_TOKENS = "userdata.ai.tokens", Counter, "{token}",
        "Tokens sent to and received from the AI endpoint, as reported by it",
        [Attribute { name: "direction", values: &["input", "output"] }];
    AI_AVOIDED = "userdata.ai.avoided", Counter, "{call}",
        "AI calls avoided: the response was cached, or the last one was invalid and the pause after it not over",
        [Attribute { name: "outcome", values: &["ok", "invalid"] }];

    LOAD_ACTIVE = "userdata.load.active", UpDownCounter, "{load}",
        "Loads in progress, including refresh-ahead and prefetch", [];
    LOAD_WAITERS = "userdata.load.waiters", UpDownCounter, "{request}",
        "Requests that wait for a load", [];
    LOAD_DURATION = "userdata.load.duration", Histogram(LOAD_SECONDS), "s",
        "One load, from its look-up in the tiers to its result",
        [Attribute { name: "outcome", values: &["found", "assembled", "stale", "not_found", "failed"] }];

    SECTIONS = "userdata.sections", Counter, "{section}",
        "Sections that loads read from their source or computed, or reused from a stored document",
        [SECTION, Attribute { name: "outcome", values: &["read", "reused"] }];
    PREFETCHES = "userdata.prefetches", Counter, "{document}",
        "Prefetches after changes: started, finished, requested afterwards (read), or why there was none",
        [Attribute {
            name: "outcome",
            values: &["started", "finished", "read", "unread", "unlikely", "busy", "over_budget", "failed"],
        }];
    CHANGES_RELAYED = "userdata.changes.relayed", Counter, "{change}",
        "Changes of the sources that the change relay turned into invalidations", [];
    CHANGES_LAG = "userdata.changes.lag", Gauge, "s",
        "How long the oldest change of the last relayed batch had waited", [];
    FEED_VERIFIED_AGE = "userdata.change_feed.verified_age", Gauge, "s",
        "Age of the moment up to which every change committed in the sources is applied", [];
    FEED_BACKLOG = "userdata.change_feed.backlog", Gauge, "{change}",
        "Changes that waited in the outbox, counted every 10 s by the instance that reads them", [];
    FEED_ROUNDS = "userdata.change_feed.rounds", Counter, "{round}",
        "Rounds of reading the outbox that this instance has completed for the cluster", [];
    FEED_UNWATCHED = "userdata.change_feed.unwatched", Gauge, "{section}",
        "Sections that are not verified because triggers on their tables are missing or changed", [];
    USER_FILES_WATCHED = "userdata.user_files.watched", UpDownCounter, "{file}",
        "Users' files that are looked at for changes", [];
    USER_FILES_CHANGES = "userdata.user_files.changes", Counter, "{change}",
        "Changes of watched users' files that a look has found", [];
    USER_FILES_FAILURES = "userdata.user_files.look_failures", Counter, "{look}",
        "Looks at users' files that failed; answers about those users are unverified", [];
    USER_FILES_COPIES = "userdata.user_files.copies", UpDownCounter, "{copy}",
        "Copies of users' files that are open", [];
    USER_FILES_COPIES_SIZE = "userdata.user_files.copies.size", UpDownCounter, "By",
        "Size of the open copies of users' files", [];
    STALENESS_CHECKS = "userdata.staleness_check.documents", Counter, "{document}",
        "Served documents sampled for comparison with the sources",
        [Attribute { name: "outcome", values: &["compared", "skipped", "change_pending", "undecided"] }];
    STALENESS_FOUND = "userdata.staleness_check.stale", Counter, "{section}",
        "Sections served although outdated, because their change caused no invalidation", [];

    LOG_APPLIED = "userdata.invalidation_log.applied", Gauge, "{invalidation}",
        "The invalidation log's position that this instance has applied", [];
    LOG_LAG = "userdata.invalidation_log.lag", Gauge, "s",
        "Time since the log was last read to its end", [];
    LOG_LEASE_REMAINING = "userdata.invalidation_log.lease_remaining", Gauge, "s",
        "How long answers stay verified without another reading of the log", [];
    LOG_COMMITS = "userdata.invalidation_log.commits", Counter, "{invalidation}",
        "Invalidations committed by this instance", [];
    LOG_GAPS = "userdata.invalidation_log.gaps", Counter, "{gap}",
        "Losses found in the log: a gap, or another epoch than before; the database has lost commits", [];
    USER_KEYS = "userdata.user_keys", Counter, "{key}",
        "Keys of users read from the key database, made and deleted; failed: a look-up gave no key though there may be one; \
         unreadable: a stored value whose key is deleted, or that was changed",
        [Attribute { name: "outcome", values: &["read", "made", "deleted", "failed", "unreadable"] }];
    USER_KEYS_HELD = "userdata.user_keys.held", UpDownCounter, "{key}",
        "Keys of users in memory", [];
    CIRCUIT_STATE = "userdata.circuit_breaker.state", Gauge, "{state}",
        "0: closed (in use), 1: half-open (probing), 2: open after failures",
        [Attribute {
            name: "dependency",
            values: &[
                "redis", "redis_writes", "redis_nodes", "database", "keys", "onboarding", "strategy", "ai_analysis",
                "gap_analysis", "performance", "recommendations",
            ],
        }];

    POOL_CONNECTIONS = "db.client.connection.count", UpDownCounter, "{connection}",
        "Connections to a database",
        [POOL, Attribute { name: "db.client.connection.state", values: &["idle", "used"] }];
    POOL_MAX = "db.client.connection.max", UpDownCounter, "{connection}",
        "Connections at most", [POOL];
    POOL_REPLACED = "userdata.pool.replaced", Counter, "{pool}",
        "Connection pools replaced because none of their connections answered", [POOL];
    PROCESS_CPU = "process.cpu.time", Counter, "s",
        "Processor time used", [Attribute { name: "cpu.mode", values: &["user", "system"] }];
    PROCESS_MEMORY = "process.memory.usage", UpDownCounter, "By",
        "Resident memory", [];
    PROCESS_FILES = "process.unix.file_descriptor.count", UpDownCounter, "{file_descriptor}",
        "Open file descriptors", [];
    PROCESS_THREADS = "process.thread.count", UpDownCounter, "{thread}",
        "Threads", [];
    PROCESS_UPTIME = "process.uptime", Gauge, "s",
        "Time since the start", [];
    RUNTIME_WORKERS = "tokio.runtime.workers", UpDownCounter, "{thread}",
        "Worker threads of the runtime", [];
    RUNTIME_TASKS = "tokio.runtime.tasks", UpDownCounter, "{task}",
        "Tasks that have not ended", [];
    RUNTIME_QUEUE = "tokio.runtime.queue_depth", UpDownCounter, "{task}",
        "Tasks waiting in the global queue", [];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_bounds_ascend() {
        let names: BTreeSet<_> = INSTRUMENTS.iter().map(|of| of.name).collect();
        assert_eq!(names.len(), INSTRUMENTS.len());
        for of in INSTRUMENTS {
            if let Histogram(bounds) = of.kind {
                assert!(bounds.is_sorted_by(|low, high| low < high), "{}", of.name);
            }
        }
    }
}
