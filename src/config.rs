//! Every setting: its name, its default, its bounds, and what goes wrong if it is wrong.
//!
//! One table (`sections!`, `config/setting.rs`) makes the structs, their defaults and the list by which settings are
//! read, shown and described, so none of these can disagree. Values come from defaults, then a file, then the
//! environment, then flags (`config/load.rs`); this is the only module that reads the environment.
//!
//! Plain data; any part of the program may name its own section, only `app` hands sections out.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chrono::NaiveDate;

mod check;
mod error;
mod file;
mod form;
mod load;
mod otel;
mod reference;
mod schema;
mod secret;
mod setting;

pub use error::{ConfigError, Problem};
pub use form::read_duration;
pub use load::{Flag, Loaded, Origin, environment};
pub use otel::OpenTelemetry;
pub use reference::reference;
pub use schema::schema;
pub use secret::Secret;
pub use setting::Setting;

use form::{
    Bytes, Choice, Count, Day, Durations, Endpoint, FilePath, Filter, KIB, ListenOn, MIB, Number, Optional, SecretText,
    Switch, Text, Url, days, hours, loopback, millis, minutes, seconds,
};

const REDIS: &[&str] =
    &["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel", "valkey", "valkeys"];
const SQL: &[&str] = &["sqlite", "postgres", "postgresql"];

setting::sections! {
    /// The gRPC server.
    server: Server {
        /// Where it listens. Beyond loopback only with TLS and authentication.
        listen: SocketAddr = loopback(50051), ListenOn;
        /// Whether it and the metrics port may listen beyond loopback without TLS and although nobody has to
        /// authenticate: everyone who reaches them then reads and erases everything.
        insecure_allow_remote: bool = false, Switch;
        /// For callers that set no deadline: longer than a flight, or they give up just before it succeeds.
        default_deadline: Duration = seconds(15), Durations(millis(100)..=hours(1));
        /// Requests being answered at once; beyond it they are refused. Hits take microseconds.
        max_concurrent_requests: usize = 1024, Count(1..=100_000);
        /// Concurrent streams of one connection: tonic's default is unlimited.
        max_concurrent_streams: u32 = 256, Count(1..=10_000);
        /// Bytes of a request at most; the largest legal one has a few KiB.
        max_request_bytes: usize = 64 * 1024, Bytes(8 * KIB..=4 * MIB);
        /// How long a request's message may take to arrive, whatever its deadline: who never finishes one would otherwise
        /// be waited for as long as he likes.
        arrival_max: Duration = seconds(10), Durations(millis(10)..=minutes(10));
        /// Bytes of a reply at most: the default limit of most gRPC clients.
        max_response_bytes: usize = 4 * 1024 * 1024, Bytes(64 * KIB..=64 * MIB);
        /// How long it says that it is leaving and still serves everybody, before it closes: as long as balancers that probe
        /// take to notice. Without them 0 is right: callers hear it on their connections.
        drain_delay: Duration = Duration::ZERO, Durations(Duration::ZERO..=minutes(5));
        /// How long shutdown may take in all after that.
        drain: Duration = seconds(20), Durations(seconds(1)..=minutes(10));
        /// Connections at once; beyond it they wait in the kernel's queue. Each may hold some 150 KiB.
        max_connections: usize = 1000, Count(1..=100_000);
        /// A connection on which HTTP/2 has not begun after this is closed: it would keep its place from somebody else.
        preface_max: Duration = seconds(10), Durations(millis(10)..=minutes(10));
        /// A peer that takes nothing for so long is gone or hostile: its connection is closed.
        write_stall_max: Duration = seconds(15), Durations(millis(10)..=minutes(10));
        /// Whether all that a connection writes in one turn goes out in one call: without it a hit costs about half as
        /// much again. There to be switched off should a client or proxy not bear it.
        coalesce_writes: bool = true, Switch;
    }

    /// Encryption of the gRPC port: TLS 1.3.
    tls: Tls {
        /// The server's certificate chain, in PEM. None: no TLS.
        cert: Option<PathBuf> = None, Optional(FilePath);
        /// The certificate's private key, in PEM. Nobody else should be able to read the file.
        key: Option<PathBuf> = None, Optional(FilePath);
        /// The CAs of client certificates, in PEM. Given, a connection without such a certificate is refused.
        client_ca: Option<PathBuf> = None, Optional(FilePath);
        /// How often these files and those of `auth` are looked at for changes.
        reload_every: Duration = seconds(10), Durations(millis(10)..=days(1));
    }

    /// Who may call.
    auth: Auth {
        /// How callers are known: `none`, by a `token` in each request, or by their certificate (`mtls`).
        mode: AuthMode = AuthMode::None,
            Choice(&[("none", AuthMode::None), ("token", AuthMode::Token), ("mtls", AuthMode::Mtls)]);
        /// For `token`: a line `ROLE SHA256 NAME` per caller; `userdata token new` writes one.
        tokens_file: Option<PathBuf> = None, Optional(FilePath);
        /// For `mtls`: a line `ROLE URI NAME` per caller, by the one URI in its certificate.
        principals_file: Option<PathBuf> = None, Optional(FilePath);
    }

    /// The port for the metrics, liveness and readiness, apart from the callers' one.
    metrics: Metrics {
        /// Where it listens. It tells figures and never users, to everyone who reaches it.
        listen: SocketAddr = loopback(9464), ListenOn;
        /// Whether it may listen beyond loopback.
        allow_remote: bool = false, Switch;
    }

    /// The memory tier.
    memory: Memory {
        /// How long a snapshot stays in memory at most; never longer than it stays fresh.
        ttl: Duration = seconds(300), Durations(millis(1)..=days(1));
        /// What holds the snapshots. `quick-cache` reads and writes cheaper, and hits more often where few of the
        /// snapshots asked for fit; figures are in docs/performance.md.
        engine: MemoryEngine = MemoryEngine::MiniMoka,
            Choice(&[("mini-moka", MemoryEngine::MiniMoka), ("quick-cache", MemoryEngine::QuickCache)]);
        /// Snapshots at most; which ones stay is decided by how often they are asked for.
        max_entries: u64 = 10_000, Count(1..=10_000_000);
        /// Bytes at most, by the snapshots' weight. Each counts with its share at least, `max_bytes / max_entries`.
        max_bytes: u64 = 256 * MIB, Bytes(MIB..=1024 * 1024 * MIB);
    }

    /// The Redis tier.
    redis: Redis {
        /// Where it is: `redis://[user:password@]host:port`, `rediss://` with TLS, `redis-cluster://` for a cluster's nodes,
        /// `redis-sentinel://` for sentinels. None: no Redis tier.
        url: Option<Secret> = None, Optional(Url(REDIS));
        /// How long a record stays at most; never longer than its snapshot stays fresh.
        ttl: Duration = hours(1), Durations(millis(1)..=days(7));
        /// Starts every key, and the channel of the instances' hints.
        prefix: String = "comprehensive_user_data".to_owned(), Text(1..=64);
        /// For one command: what a request loses at most to a Redis that hangs, until the breaker opens.
        timeout: Duration = millis(50), Durations(millis(1)..=seconds(10));
        /// Payloads above this are compressed: below it zstd costs more than it saves.
        compress_above: usize = 1024, Bytes(0..=64 * MIB);
    }

    /// The cache table, fences and leases.
    database: Database {
        /// `postgres://..`, or `sqlite://..` for instances on one machine. All instances need the same one. By default a file
        /// beneath the working directory: `sqlite://./data/userdata.db?mode=rwc`.
        url: Secret = Secret::new("sqlite://./data/userdata.db?mode=rwc"), Url(SQL);
        /// How long a complete document stays fresh.
        ttl: Duration = hours(1), Durations(millis(1)..=days(7));
        /// Expiry is spread by this share of the TTL to either side, so that what was loaded together does not expire
        /// together.
        ttl_jitter: f64 = 0.1, Number(0.0..=0.5);
        /// The share of its life after which a document that is asked for is assembled anew behind the answer, so that
        /// nobody waits when it expires. 1: never.
        refresh_after: f64 = 0.8, Number(0.1..=1.0);
        /// For all of a request's reads in the cache table.
        timeout: Duration = millis(200), Durations(millis(1)..=seconds(30));
        /// Connections at most, for each instance; 8 more are kept for the invalidation log.
        max_connections: u32 = 10, Count(1..=1000);
        /// Rows older than this are swept; until then expired ones serve as STALE.
        stale_max: Duration = days(1), Durations(millis(1)..=days(30));
        /// How often rows are swept that are older than `database.stale_max`.
        sweep_every: Duration = seconds(300), Durations(millis(10)..=days(1));
        /// Rows deleted by one statement: small enough never to hold locks for long.
        sweep_batch: u64 = 500, Count(1..=10_000);
        /// How often access counts are written to the table: what a crash loses of them.
        tally_every: Duration = seconds(5), Durations(millis(10)..=hours(1));
        /// Keys whose access counts are gathered at most between two writes; further ones are not counted.
        tally_keys_max: usize = 100_000, Count(1..=10_000_000);
    }

    /// The invalidation log's local copy.
    fence: Fence {
        /// How often the log is read: without Redis, what an invalidation takes to reach the other instances.
        poll: Duration = millis(100), Durations(millis(1)..=seconds(10));
        /// How long a copy of the log is trusted. All instances of a cluster have to agree on it.
        lease: Duration = millis(500), Durations(millis(10)..=minutes(1));
        /// How long a request waits for a lapsed copy to be renewed before it is answered unverified.
        renew_timeout: Duration = millis(50), Durations(millis(1)..=seconds(10));
        /// How long cached answers are given after the lease lapsed.
        unverified_max: Duration = seconds(300), Durations(Duration::ZERO..=days(1));
        /// Scopes whose fences are held at most; pruning raises the floor, which is always safe.
        scopes_max: usize = 1_000_000, Count(1000..=100_000_000);
    }

    /// Loads.
    flight: Flight {
        /// For a whole load. At least a required source's hard timeout and half a second, or a load dies just before it
        /// would succeed.
        budget: Duration = seconds(10), Durations(millis(500)..=hours(1));
        /// Loads that read the sources at once.
        max_concurrent: usize = 16, Count(1..=10_000);
        /// Loads that wait for their turn; beyond it they are refused.
        max_queued: usize = 64, Count(0..=100_000);
        /// Callers that wait for loads; beyond it they are refused.
        max_waiting: usize = 20_000, Count(1..=1_000_000);
        /// How long a partial document stays before it is completed.
        partial_ttl: Duration = seconds(30), Durations(millis(1)..=days(1));
        /// How long an unknown user is remembered, unless an invalidation tells of them.
        not_found_ttl: Duration = seconds(30), Durations(millis(1)..=days(1));
    }

    /// The leases by which one instance works for all.
    load_lease: LoadLease {
        /// How often a holder shows that it is alive. Most loads end before the first time.
        beat: Duration = seconds(1), Durations(millis(10)..=minutes(1));
        /// A holder that shows nothing for so long is taken for dead: several beats, or a busy database would make the
        /// others load too; but all of it is waited for when an instance dies.
        takeover: Duration = seconds(5), Durations(millis(50)..=minutes(5));
        /// How often those who wait look: what the slowest of them loses after a load.
        poll: Duration = millis(100), Durations(millis(1)..=seconds(10));
        /// After this they load by themselves, however alive the holder is: longer than a flight.
        wait_max: Duration = seconds(15), Durations(millis(100)..=hours(1));
        /// How long a failure or a NOT_FOUND is shared at most before it is tried again.
        outcome_max: Duration = seconds(5), Durations(Duration::ZERO..=minutes(1));
    }

    /// Assembling a document again behind a change, so that its next reader need not wait. What an instance knows of
    /// readers is what it answers itself; limits are of each instance.
    reassembly: Reassembly {
        /// Whether it is done at all.
        enabled: bool = true, Switch;
        /// After a change, this long without another one: changes that belong together are dealt with together. Who
        /// comes sooner waits, as without it.
        quiet: Duration = seconds(1), Durations(Duration::ZERO..=minutes(10));
        /// How long changes that do not end, or a busy instance, put it off at most.
        delay_max: Duration = seconds(10), Durations(Duration::ZERO..=hours(1));
        /// Documents in a row that nobody reads after which it ends, until somebody reads again.
        unread_max: u32 = 3, Count(1..=1000);
        /// AI calls per hour for documents that nobody has asked for; none if this or one of the next two is 0.
        ai_calls_per_hour: u32 = 60, Count(0..=100_000);
        /// The same for one user per day.
        ai_calls_per_user_per_day: u32 = 10, Count(0..=10_000);
        /// The same for all users together per day.
        ai_calls_per_day: u32 = 500, Count(0..=100_000);
    }

    /// The tables of the planning application.
    sources: Sources {
        /// Where they are; read only. None: the cache's database.
        database_url: Option<Secret> = None, Optional(Url(SQL));
        /// Whether changes that triggers have noted become invalidations by themselves (`userdata triggers install`).
        change_feed: bool = true, Switch;
        /// How often the triggers' outbox is looked into: what it adds to the time in which a change is seen.
        relay_poll: Duration = millis(100), Durations(millis(1)..=minutes(1));
        /// A login that may write the outbox, if the tables are not in the cache's database. None: no change feed
        /// from there.
        relay_database_url: Option<Secret> = None, Optional(Url(SQL));
        /// Connections at most, for each instance. Fewer than loads need make sources wait for each other.
        max_connections: u32 = 16, Count(1..=1000);
        /// After this an optional section is answered without.
        soft_timeout: Duration = seconds(1), Durations(millis(1)..=minutes(10));
        /// After this a source is given up.
        hard_timeout: Duration = seconds(8), Durations(millis(1)..=minutes(10));
        /// Runs of one source at once: more than that many loads gain nothing from one database.
        max_concurrent: usize = 16, Count(1..=10_000);
        /// A larger JSON column counts as absent, with a warning.
        column_bytes_max: usize = 256 * 1024, Bytes(KIB..=16 * MIB);
        /// Failures in a row after which a source is left alone.
        breaker_failures: u32 = 5, Count(1..=1000);
        /// How long it is left alone before it is tried again.
        breaker_pause: Duration = seconds(2), Durations(millis(10)..=minutes(10));
    }

    /// Comparing what is served with what the sources say, where changes make themselves known.
    inspector: Inspector {
        /// The share of hits that are offered for it. 0: none.
        share: f64 = 0.01, Number(0.0..=1.0);
        /// How often one of them is compared: each time the sources are read once more, which costs what a load costs.
        every: Duration = seconds(1), Durations(millis(1)..=hours(1));
    }

    /// The AI endpoint.
    ai: Ai {
        /// An OpenAI-compatible endpoint, such as `https://host/v1`. None: the rule engine.
        base_url: Option<String> = None, Optional(Endpoint);
        /// The model's name as the endpoint knows it.
        model: String = String::new(), Text(0..=200);
        /// Sent to the endpoint as a bearer token. None: nothing is sent, for endpoints on this machine.
        api_key: Option<Secret> = None, Optional(SecretText);
        /// Sampling temperature: how much answers to the same question differ.
        temperature: f64 = 0.2, Number(0.0..=2.0);
        /// Tokens of an answer at most.
        max_output_tokens: u32 = 4096, Count(256..=100_000);
        /// How the answer's form is asked for.
        structured: Structured = Structured::JsonSchema,
            Choice(&[("json_schema", Structured::JsonSchema), ("json_object", Structured::JsonObject)]);
        /// After this the document is answered without the section; the call goes on.
        soft_timeout: Duration = seconds(8), Durations(millis(1)..=minutes(10));
        /// After this the call is given up, and with it what it cost.
        hard_timeout: Duration = seconds(60), Durations(millis(1)..=minutes(30));
        /// Calls begun per minute at most, in this instance: a limit for what a mistake can cost.
        calls_per_minute: u32 = 60, Count(1..=100_000);
    }

    /// The log.
    log: Log {
        /// A `tracing` filter, such as `info,userdata=debug`; spans per HTTP/2 frame stay off whatever it says.
        filter: String = "info".to_owned(), Filter;
        /// How lines look: `text` for people, `json` for what gathers logs, one object a line.
        format: LogFormat = LogFormat::Text, Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    }

    /// The demo data.
    demo: Demo {
        /// Seed it at start if the sources are empty. `demo` alone means this setting too.
        enabled: bool = false, Switch;
        /// The day its dates count from; none: today.
        as_of: Option<NaiveDate> = None, Optional(Day);
    }
}

/// What holds the snapshots in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryEngine {
    /// TinyLFU. Its writes are made one after the other, because they are not safe otherwise.
    MiniMoka,
    /// Clock-PRO, in shards.
    QuickCache,
}

/// How an answer's form is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structured {
    /// `response_format: json_schema`.
    JsonSchema,
    /// `response_format: json_object`, the schema in the prompt: for endpoints that know no schema.
    JsonObject,
}

impl Structured {
    /// As it is configured.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JsonSchema => "json_schema",
            Self::JsonObject => "json_object",
        }
    }
}

/// How callers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// They are not.
    None,
    /// By a token in each request.
    Token,
    /// By the certificate of their connection.
    Mtls,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
