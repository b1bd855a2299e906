//! Every setting: its name, its default, and what goes wrong if it is wrong.
//!
//! Plain data; any part of the program may name its own section, only `app` hands sections out.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// All settings.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The gRPC server.
    pub server: Server,
    /// The metrics and health port.
    pub metrics: Metrics,
    /// The memory tier.
    pub memory: Memory,
    /// The Redis tier.
    pub redis: Redis,
    /// The cache table, fences and leases.
    pub database: Database,
    /// The fence log's local copy.
    pub fence: Fence,
    /// Loads.
    pub flight: Flight,
    /// The tables of the planning application.
    pub sources: Sources,
    /// The AI endpoint.
    pub ai: Ai,
    /// The log.
    pub log: Log,
    /// The demo data.
    pub demo: Demo,
}

/// The gRPC server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it listens. Only loopback until TLS and authentication are configured.
    pub listen: SocketAddr,
    /// For callers that set no deadline: longer than a flight, or they give up just before it succeeds.
    pub default_deadline: Duration,
    /// Requests being answered at once; beyond it they are refused. Hits take microseconds.
    pub max_concurrent_requests: usize,
    /// Concurrent streams of one connection: tonic's default is unlimited.
    pub max_concurrent_streams: u32,
    /// Bytes of a request at most; the largest legal one has a few KiB.
    pub max_request_bytes: usize,
    /// Bytes of a reply at most: the default limit of most gRPC clients.
    pub max_response_bytes: usize,
    /// How long shutdown may take in all.
    pub drain: Duration,
    /// Connections at once; beyond it they wait in the kernel's queue. Each may hold some 100 KiB.
    pub max_connections: usize,
    /// A peer that takes nothing for so long is gone or hostile: its connection is closed.
    pub write_stall_max: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            default_deadline: Duration::from_secs(15),
            max_concurrent_requests: 1024,
            max_concurrent_streams: 256,
            max_request_bytes: 64 * 1024,
            max_response_bytes: 4 * 1024 * 1024,
            drain: Duration::from_secs(20),
            max_connections: 1000,
            write_stall_max: Duration::from_secs(15),
        }
    }
}

/// The metrics and health port.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// The memory tier.
#[derive(Clone, Debug)]
pub struct Memory {
    /// How long a snapshot stays in memory at most; never longer than it stays fresh.
    pub ttl: Duration,
    /// Snapshots at most.
    pub max_entries: u64,
    /// Bytes at most, by the snapshots' weight.
    pub max_bytes: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(300), max_entries: 10_000, max_bytes: 256 * 1024 * 1024 }
    }
}

/// The Redis tier.
#[derive(Clone, Debug)]
pub struct Redis {
    /// fred's URL forms: `redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://`. None: no Redis tier.
    pub url: Option<Secret>,
    /// How long a record stays at most; never longer than its snapshot stays fresh.
    pub ttl: Duration,
    /// Starts every key.
    pub prefix: String,
    /// For one command: what a request loses at most to a Redis that hangs, until the breaker opens.
    pub timeout: Duration,
    /// Payloads above this are compressed: below it zstd costs more than it saves.
    pub compress_above: usize,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            ttl: Duration::from_secs(3600),
            prefix: "comprehensive_user_data".to_owned(),
            timeout: Duration::from_millis(50),
            compress_above: 1024,
        }
    }
}

/// The cache table, fences and leases.
#[derive(Clone, Debug)]
pub struct Database {
    /// `sqlite://..` or `postgres://..`.
    pub url: Secret,
    /// How long a complete document stays fresh.
    pub ttl: Duration,
    /// Expiry is spread by this share of the TTL to either side, so that what was loaded together does not expire together.
    pub ttl_jitter: f64,
    /// For all of a request's reads in the cache table.
    pub timeout: Duration,
    /// Connections at most.
    pub max_connections: u32,
    /// Rows older than this are swept; until then expired ones serve as STALE.
    pub stale_max: Duration,
    /// How often rows are swept.
    pub sweep_every: Duration,
    /// Rows deleted by one statement: small enough never to hold locks for long.
    pub sweep_batch: u64,
    /// How often access counts are written.
    pub tally_every: Duration,
    /// Keys whose access counts are gathered at most between two writes; further ones are not counted.
    pub tally_keys_max: usize,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: Secret::new("sqlite://./data/userdata.db?mode=rwc"),
            ttl: Duration::from_secs(3600),
            ttl_jitter: 0.1,
            timeout: Duration::from_millis(200),
            max_connections: 10,
            stale_max: Duration::from_secs(24 * 3600),
            sweep_every: Duration::from_secs(300),
            sweep_batch: 500,
            tally_every: Duration::from_secs(5),
            tally_keys_max: 100_000,
        }
    }
}

/// The fence log's local copy.
#[derive(Clone, Debug)]
pub struct Fence {
    /// How often the log is read.
    pub poll: Duration,
    /// How long a copy of the log is trusted. All instances of a cluster have to agree on it.
    pub lease: Duration,
    /// How long a request waits for a lapsed copy to be renewed before it is answered unverified.
    pub renew_timeout: Duration,
    /// How long cached answers are given after the lease lapsed.
    pub unverified_max: Duration,
    /// Scopes whose fences are held at most; pruning raises the floor, which is always safe.
    pub scopes_max: usize,
}

impl Default for Fence {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            lease: Duration::from_millis(500),
            renew_timeout: Duration::from_millis(50),
            unverified_max: Duration::from_secs(300),
            scopes_max: 1_000_000,
        }
    }
}

/// Loads.
#[derive(Clone, Debug)]
pub struct Flight {
    /// For a whole load. At least a required source's hard timeout and half a second, or a load dies just before it would succeed.
    pub budget: Duration,
    /// Loads that read the sources at once.
    pub max_concurrent: usize,
    /// Loads that wait for their turn; beyond it they are refused.
    pub max_queued: usize,
    /// Callers that wait for loads; beyond it they are refused.
    pub max_waiting: usize,
    /// How long a partial document stays.
    pub partial_ttl: Duration,
    /// How long an unknown user is remembered.
    pub not_found_ttl: Duration,
}

impl Default for Flight {
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(10),
            max_concurrent: 16,
            max_queued: 64,
            max_waiting: 20_000,
            partial_ttl: Duration::from_secs(30),
            not_found_ttl: Duration::from_secs(30),
        }
    }
}

/// The tables of the planning application.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Where they are; read only. None: the cache's database.
    pub database_url: Option<Secret>,
    /// Connections at most.
    pub max_connections: u32,
    /// After this an optional section is answered without.
    pub soft_timeout: Duration,
    /// After this a source is given up.
    pub hard_timeout: Duration,
    /// Runs of one source at once: more than that many loads gain nothing from one database.
    pub max_concurrent: usize,
    /// A larger JSON column counts as absent, with a warning.
    pub column_bytes_max: usize,
    /// Failures in a row after which a source is left alone.
    pub breaker_failures: u32,
    /// How long it is left alone before it is tried again.
    pub breaker_pause: Duration,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            database_url: None,
            max_connections: 16,
            soft_timeout: Duration::from_secs(1),
            hard_timeout: Duration::from_secs(8),
            max_concurrent: 16,
            column_bytes_max: 256 * 1024,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(2),
        }
    }
}

/// The AI endpoint.
#[derive(Clone, Debug)]
pub struct Ai {
    /// An OpenAI-compatible endpoint, such as `https://host/v1`. None: the rule engine.
    pub base_url: Option<String>,
    /// The model's name as the endpoint knows it.
    pub model: String,
    /// Sent as a bearer token.
    pub api_key: Option<Secret>,
    /// Sampling temperature.
    pub temperature: f64,
    /// Tokens of an answer at most.
    pub max_output_tokens: u32,
    /// How the answer's form is asked for.
    pub structured: Structured,
    /// After this the document is answered without the section; the call goes on.
    pub soft_timeout: Duration,
    /// After this the call is given up.
    pub hard_timeout: Duration,
    /// Calls begun per minute at most, in this instance: a limit for what a mistake can cost.
    pub calls_per_minute: u32,
}

impl Default for Ai {
    fn default() -> Self {
        Self {
            base_url: None,
            model: String::new(),
            api_key: None,
            temperature: 0.2,
            max_output_tokens: 4096,
            structured: Structured::JsonSchema,
            soft_timeout: Duration::from_secs(8),
            hard_timeout: Duration::from_secs(60),
            calls_per_minute: 60,
        }
    }
}

/// How an answer's form is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structured {
    /// `response_format: json_schema`.
    JsonSchema,
    /// `response_format: json_object`, the schema in the prompt: for endpoints that know no schema.
    JsonObject,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// A `tracing` filter.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        // Without the last three, spans per HTTP/2 frame cost several times the work itself.
        Self { filter: "info,h2=off,hyper=off,tower=off".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The demo data.
#[derive(Clone, Debug, Default)]
pub struct Demo {
    /// Seed it at start if the sources are empty.
    pub enabled: bool,
    /// The day its dates count from; none: today.
    pub as_of: Option<chrono::NaiveDate>,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// A file to read settings from, and what the command line says of them.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `section.key` and value, from flags.
    pub flags: Vec<(String, String)>,
}
