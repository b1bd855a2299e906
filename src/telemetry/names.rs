//! Every instrument: its name, what it counts, and the closed list of values that each of its attributes may take.
//!
//! One table, because names are a contract with dashboards and alerts: [`Meter`](super::Meter) makes instruments from
//! it and from nothing else, docs/observability.md lists it, and a scrape is compared with it (`tests/it/telemetry`).
//! RPC, process and pool names are those of OpenTelemetry's semantic conventions.
//!
//! Invariant: attributes are closed lists, never ids, so the number of series is known when the process starts.

use Kind::{Counter, Gauge, Histogram, UpDownCounter};

/// What an instrument does with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// A number of things, which can be summed up over instances.
    UpDownCounter,
    /// A level, of which a sum makes no sense.
    Gauge,
    /// How often a value lay below each of these bounds.
    Histogram(&'static [f64]),
}

/// One instrument.
#[derive(Clone, Copy, Debug)]
pub struct Instrument {
    /// As OTLP carries it; the scrape has `_` for `.`, then the unit, then `_total` for a counter.
    pub name: &'static str,
    /// What it does with its numbers.
    pub kind: Kind,
    /// In UCUM.
    pub unit: &'static str,
    /// What it says.
    pub description: &'static str,
    /// By what it is split.
    pub attributes: &'static [Attribute],
}

/// One attribute of an instrument.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its key.
    pub name: &'static str,
    /// All values that it can take.
    pub values: &'static [&'static str],
}

/// Of the semantic conventions for RPCs.
const CALL_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// A memory hit takes a microsecond, Redis some hundred, a tier that hangs its timeout.
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
/// Up to the hard timeout of an AI call.
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
const CODE: Attribute = Attribute {
    name: "rpc.response.status_code",
    values: &[
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
    ],
};
const POOL: Attribute =
    Attribute { name: "db.client.connection.pool.name", values: &["cache", "fences", "sources", "outbox"] };

/// Writes, for each `NAME = "name", kind, "unit", "description", [attributes];`, a constant, and the list of all.
macro_rules! instruments {
    ($($constant:ident = $name:literal, $kind:expr, $unit:literal, $description:literal, [$($attribute:expr),*];)+) => {
        $(
            #[doc = $description]
            pub const $constant: Instrument = Instrument {
                name: $name,
                kind: $kind,
                unit: $unit,
                description: $description,
                attributes: &[$($attribute),*],
            };
        )+
        /// Every instrument.
        pub const INSTRUMENTS: &[Instrument] = &[$($constant),+];
    };
}

instruments! {
    CALL_DURATION = "rpc.server.call.duration", Histogram(CALL_SECONDS), "s",
        "From a request's head to its last byte, or to its caller's leaving (CANCELLED)",
        [Attribute { name: "rpc.system.name", values: &["grpc"] }, METHOD, CODE];
    REQUESTS_IN_FLIGHT = "userdata.requests.in_flight", UpDownCounter, "{request}",
        "Requests being answered", [METHOD];
    SERVED = "userdata.served", Counter, "{document}",
        "Documents handed out, by where they came from", [Attribute {
            name: "status",
            values: &["HIT_MEMORY", "HIT_REDIS", "HIT_DATABASE", "SHARED", "ASSEMBLED", "REFRESHED", "STALE"],
        }];
    SUPERSEDED = "userdata.superseded", Counter, "{document}",
        "Copies refused because an invalidation had outdated them", [];
    UNVERIFIED = "userdata.unverified", Counter, "{document}",
        "Documents handed out while the invalidation log could not be read", [];

    LOOKUP_DURATION = "userdata.cache.lookup.duration", Histogram(LOOKUP_SECONDS), "s",
        "One look into a tier; what is found below memory is judged after it",
        [TIER, Attribute { name: "outcome", values: &["hit", "miss", "error"] }];
    CACHE_ENTRIES = "userdata.cache.entries", UpDownCounter, "{document}",
        "Documents held; the other tiers are counted by GetCacheStats", [MEMORY];
    // Not "By": the scrape would say "bytes" twice.
    CACHE_BYTES = "userdata.cache.bytes", UpDownCounter, "{byte}",
        "Their weight", [MEMORY];
    CACHE_EVICTIONS = "userdata.cache.evictions", Counter, "{document}",
        "Documents pushed out, or not let in, for lack of room", [MEMORY];
    CACHE_WRITES = "userdata.cache.writes", Counter, "{write}",
        "Documents written to a tier; skipped: what is there is newer, or the tier is left alone",
        [TIER, Attribute { name: "outcome", values: &["ok", "error", "skipped"] }];

    SOURCE_DURATION = "userdata.source.duration", Histogram(LOAD_SECONDS), "s",
        "One run of a source; abandoned: its load ended before it",
        [SOURCE, Attribute { name: "outcome", values: &["ok", "error", "timeout", "abandoned"] }];
    SOURCE_IN_FLIGHT = "userdata.source.in_flight", UpDownCounter, "{run}",
        "Runs of a source under way", [SOURCE];
    AI_CALLS = "userdata.ai.calls", Counter, "{call}",
        "Calls to the model that have ended, repeated ones included",
        [Attribute { name: "outcome", values: &["ok", "error"] }];
    AI_TOKENS = "userdata.ai.tokens", Counter, "{token}",
        "Tokens sent and received, as far as the endpoint reports them",
        [Attribute { name: "direction", values: &["input", "output"] }];
    AI_AVOIDED = "userdata.ai.avoided", Counter, "{call}",
        "Calls not made because the answer was remembered", [];

    FLIGHT_ACTIVE = "userdata.flight.active", UpDownCounter, "{load}",
        "Loads under way, those behind an answer included", [];
    FLIGHT_WAITERS = "userdata.flight.waiters", UpDownCounter, "{request}",
        "Requests that wait for a load", [];
    FLIGHT_DURATION = "userdata.flight.duration", Histogram(LOAD_SECONDS), "s",
        "One load, from its look into the tiers to its answer",
        [Attribute { name: "outcome", values: &["found", "assembled", "stale", "not_found", "failed"] }];

    SECTIONS = "userdata.sections", Counter, "{section}",
        "What loads have done with sections: read them or made them, or kept them from a stored document",
        [SECTION, Attribute { name: "outcome", values: &["read", "reused"] }];
    REASSEMBLIES = "userdata.reassemblies", Counter, "{document}",
        "Documents assembled again behind changes: begun, finished, read by somebody, or why one was left to its reader",
        [Attribute {
            name: "outcome",
            values: &["started", "finished", "read", "unread", "unlikely", "busy", "over_budget", "failed"],
        }];
    CHANGES_RELAYED = "userdata.changes.relayed", Counter, "{change}",
        "Changes of the sources that became invalidations by themselves", [];
    CHANGES_LAG = "userdata.changes.lag", Gauge, "s",
        "How long the oldest of the changes relayed last had waited", [];
    INSPECTED = "userdata.inspector.documents", Counter, "{document}",
        "Served documents picked to be compared with the sources",
        [Attribute { name: "outcome", values: &["compared", "skipped", "change_pending", "undecided"] }];
    INSPECTED_STALE = "userdata.inspector.stale", Counter, "{section}",
        "Sections that were served though a change of which nobody was told had outdated them", [];

    FENCE_APPLIED = "userdata.fence.applied", Gauge, "{fence}",
        "The invalidation log's position that this instance has applied", [];
    FENCE_LAG = "userdata.fence.lag", Gauge, "s",
        "How long ago the log was last read to its head", [];
    FENCE_LEASE_REMAINING = "userdata.fence.lease_remaining", Gauge, "s",
        "How long answers stay verified without another reading of the log", [];
    FENCE_COMMITS = "userdata.fence.commits", Counter, "{fence}",
        "Fences committed by this instance", [];
    FENCE_GAPS = "userdata.fence.gaps", Counter, "{gap}",
        "Gaps found in the log: the database has lost commits", [];
    BREAKER_STATE = "userdata.breaker.state", Gauge, "{state}",
        "0: in use, 1: being tried again, 2: left alone after failures",
        [Attribute {
            name: "dependency",
            values: &[
                "redis", "database", "onboarding", "strategy", "ai_analysis", "gap_analysis", "performance",
                "recommendations",
            ],
        }];

    POOL_CONNECTIONS = "db.client.connection.count", UpDownCounter, "{connection}",
        "Connections to a database",
        [POOL, Attribute { name: "db.client.connection.state", values: &["idle", "used"] }];
    POOL_MAX = "db.client.connection.max", UpDownCounter, "{connection}",
        "Connections at most", [POOL];
    POOL_REPLACED = "userdata.pool.replaced", Counter, "{pool}",
        "Pools replaced because a silent network had swallowed all their connections", [POOL];
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
        "Threads that run tasks", [];
    RUNTIME_TASKS = "tokio.runtime.tasks", UpDownCounter, "{task}",
        "Tasks that have not ended", [];
    RUNTIME_QUEUE = "tokio.runtime.queue_depth", UpDownCounter, "{task}",
        "Tasks that wait for a thread in the queue that all share", [];
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
