//! Every setting: its name, default and bounds, and what a bad value breaks.
//!
//! One table (`sections!`, `config/setting.rs`) generates the structs, their defaults, and the list that reads, shows
//! and documents settings, so these cannot disagree. Values come from defaults, then a file, then the environment, then
//! flags (`config/load.rs`). Only this module reads the environment.
//!
//! Plain data: a module takes its own section only, and `app` passes it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chrono::NaiveDate;

mod check;
mod choices;
mod databases;
mod error;
mod file;
mod form;
mod load;
mod origin;
mod otel;
mod reference;
mod sample;
mod same_database;
mod schema;
mod secret;
mod setting;
mod template;

pub use choices::{AuthMode, HttpCompat, LogFormat, MemoryEngine, Pooler, Structured, TokenLimitField};
pub use databases::DatabaseSetting;
pub use error::{ConfigError, Problem};
pub use form::{WebOrigin, read_duration};
pub use load::{Loaded, environment};
pub use origin::{Flag, Origin};
pub use otel::OpenTelemetry;
pub use reference::reference;
pub use sample::sample;
pub use schema::schema;
pub use secret::Secret;
pub use setting::Setting;
pub use template::FileTemplate;

use form::{
    Bytes, Choice, Count, DAY, Durations, ENDPOINT, FILE, FILTER, HeaderLines, KEYS_URL, KIB, LISTEN_ON, MIB, Number,
    Optional, OriginList, SWITCH, SecretText, Templates, Text, Url, UrlOrTemplate, days, hours, loopback, millis,
    minutes, seconds,
};

const REDIS: &[&str] =
    &["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel", "valkey", "valkeys"];
const HTTP: &[&str] = &["http", "https"];
const SQL: &[&str] = &["sqlite", "postgres", "postgresql"];
const POOLERS: &[(&str, Pooler)] = &[("none", Pooler::None), ("transaction", Pooler::Transaction)];

setting::sections! {
    /// The gRPC server.
    server: ServerSettings {
        /// The address of the gRPC port. An address other than loopback needs TLS and authentication.
        listen: SocketAddr = loopback(50051), LISTEN_ON;
        /// Allows addresses other than loopback without TLS and authentication, for the metrics port too. Everyone who
        /// reaches the gRPC port can then read and erase all users.
        insecure_allow_remote: bool = false, SWITCH;
        /// The deadline of calls that set none. Longer than `loads.budget`, or such callers give up just before a load
        /// succeeds.
        default_deadline: Duration = seconds(15), Durations(millis(100)..=hours(1));
        /// Requests in progress at most; further ones are refused. A hit takes microseconds.
        max_concurrent_requests: usize = 1024, Count(1..=100_000);
        /// Concurrent streams of one connection at most. More let one client take the capacity of the others.
        max_concurrent_streams: u32 = 256, Count(1..=10_000);
        /// Size of a request at most. The largest valid request has a few KiB.
        max_request_bytes: usize = 64 * 1024, Bytes(8 * KIB..=4 * MIB);
        /// How long a request's message may take to arrive, whatever its deadline. Longer lets slow senders hold memory.
        arrival_max: Duration = seconds(10), Durations(millis(10)..=minutes(10));
        /// Size of a response at most. Most gRPC clients refuse more than 4 MiB by default.
        max_response_bytes: usize = 4 * 1024 * 1024, Bytes(64 * KIB..=64 * MIB);
        /// How long the server reports NOT_SERVING and still accepts requests before it shuts down. As long as a load
        /// balancer needs to notice by health checks; 0 without one, because clients learn it from their connection.
        drain_delay: Duration = Duration::ZERO, Durations(Duration::ZERO..=minutes(5));
        /// How long shutdown may take after that. Shorter than the orchestrator's kill timeout, or requests are cut off.
        drain: Duration = seconds(20), Durations(seconds(1)..=minutes(10));
        /// Connections at most. If all are in use, a new one ends the longest without an admitted request, or the longest
        /// idle one. Each can use some 150 KiB. Reduced at the start if the process may not have enough file descriptors.
        max_connections: usize = 1000, Count(1..=100_000);
        /// A connection on which no request has been admitted is closed after this. Health checks do not count. Longer
        /// lets clients without credentials hold connections, shorter makes clients that connect ahead of their requests connect again.
        first_request_max: Duration = seconds(30), Durations(millis(10)..=hours(1));
        /// A connection without a request for this long is closed. Longer keeps connections of clients that are gone.
        idle_max: Duration = minutes(5), Durations(millis(10)..=days(1));
        /// Calls of health and unknown methods in progress at most, over all connections, an eighth of them on one. They
        /// need no permit and no credentials; an eighth more is for reflection. Beyond it, the newest call of the
        /// connection with the most is refused.
        max_open_calls: usize = 256, Count(16..=100_000);
        /// A connection that has not started HTTP/2 after this is closed. Longer lets idle connections use up
        /// `server.max_connections`.
        preface_max: Duration = seconds(10), Durations(millis(10)..=minutes(10));
        /// A connection whose peer reads nothing for this long is closed. Shorter drops clients on bad networks.
        write_stall_max: Duration = seconds(15), Durations(millis(10)..=minutes(10));
        /// Collects the writes of a connection's poll cycle into one system call. Without it, a hit costs about half as
        /// much again. Switch it off if a client or proxy cannot handle it.
        coalesce_writes: bool = true, SWITCH;
    }

    /// Encryption of the gRPC port: TLS 1.3.
    tls: TlsSettings {
        /// The server's certificate chain, in PEM. None: no TLS.
        cert: Option<PathBuf> = None, Optional(FILE);
        /// The private key of the certificate, in PEM. Only the server's user should be able to read the file.
        key: Option<PathBuf> = None, Optional(FILE);
        /// The CAs of client certificates, in PEM. If set, connections without a client certificate are refused.
        client_ca: Option<PathBuf> = None, Optional(FILE);
        /// How often these files and those of `auth` are checked for changes. Longer delays a revocation.
        reload_every: Duration = seconds(10), Durations(millis(10)..=days(1));
    }

    /// Authentication of callers.
    auth: AuthSettings {
        /// How services authenticate: `none`, by a `token` in each request, or by their certificate (`mtls`). With `jwt`
        /// only users call. Users' tokens count in `token` and `mtls` too, if there are keys for them.
        mode: AuthMode = AuthMode::None, Choice(AuthMode::NAMES);
        /// For `token`: one line `ROLE SHA256 NAME` per caller. `userdata token new` writes one.
        tokens_file: Option<PathBuf> = None, Optional(FILE);
        /// For `mtls`: one line `ROLE URI NAME` per caller. The URI is the only one in the caller's certificate.
        principals_file: Option<PathBuf> = None, Optional(FILE);
        /// The keys that sign users' tokens (JWT, RS256 or ES256): a JWKS file, read again when it changes. Such a caller reads
        /// and invalidates its own document only.
        jwt_keys_file: Option<PathBuf> = None, Optional(FILE);
        /// The same from an identity provider. If it does not answer, the known keys stay in use.
        jwt_keys_url: Option<String> = None, Optional(KEYS_URL);
        /// How often that address is asked. Longer delays the revocation of a key; for a new key it is asked at once.
        jwt_keys_every: Duration = minutes(5), Durations(seconds(1)..=days(1));
        /// Who has to have issued users' tokens: the claim `iss`. Needed if there are keys.
        jwt_issuer: String = String::new(), Text(0..=1024);
        /// Whom users' tokens have to be meant for: one value of the claim `aud`. Needed if there are keys.
        jwt_audience: String = String::new(), Text(0..=1024);
        /// The claim that names the user, with the id that requests have: a text, or an integer.
        jwt_user_claim: String = "sub".to_owned(), Text(1..=255);
    }

    /// HTTP beside gRPC, on a port of its own: Connect's protocol for all RPCs, and the planning application's routes.
    /// Callers, limits and deadlines are those of gRPC; `server.max_connections` is for both ports together.
    http: HttpSettings {
        /// The address of the HTTP port. None: no HTTP. An address other than loopback needs TLS and authentication.
        listen: Option<SocketAddr> = None, Optional(LISTEN_ON);
        /// The callers of the application's routes: `new`, or `aug22` for those of August 2025, whose user ids are
        /// numbers.
        compat: HttpCompat = HttpCompat::New, Choice(&[("new", HttpCompat::New), ("aug22", HttpCompat::Aug22)]);
        /// Origins whose web pages may call, such as `https://app.example`, separated by commas. None: no page of
        /// another origin.
        allowed_origins: Vec<WebOrigin> = Vec::new(), OriginList;
        /// A connection of HTTP/1.1 without a complete head of a request for this long is closed.
        keep_alive: Duration = seconds(60), Durations(millis(10)..=hours(1));
        /// The share of `memory.max_bytes` for documents as JSON, kept beside the documents. Less renders more often.
        json_share: f64 = 0.25, Number(0.0..=0.9);
    }

    /// The HTTP port for metrics, liveness and readiness.
    metrics: MetricsSettings {
        /// The address of the metrics port. It serves metrics to everyone who reaches it, and never user data.
        listen: SocketAddr = loopback(9464), LISTEN_ON;
        /// Allows addresses other than loopback.
        allow_remote: bool = false, SWITCH;
    }

    /// The memory tier.
    memory: MemorySettings {
        /// How long a snapshot stays in memory at most; never longer than it stays fresh.
        ttl: Duration = seconds(300), Durations(millis(1)..=days(1));
        /// The cache library. `quick-cache` reads and writes faster, and has the higher hit rate if few of the requested
        /// snapshots fit; docs/performance.md has measurements.
        engine: MemoryEngine = MemoryEngine::MiniMoka,
            Choice(&[("mini-moka", MemoryEngine::MiniMoka), ("quick-cache", MemoryEngine::QuickCache)]);
        /// Snapshots at most. The most frequently requested ones stay.
        max_entries: u64 = 10_000, Count(1..=10_000_000);
        /// Bytes at most. A snapshot counts as `max_bytes / max_entries` at least.
        max_bytes: u64 = 256 * MIB, Bytes(MIB..=1024 * 1024 * MIB);
    }

    /// The Redis tier.
    redis: RedisSettings {
        /// `redis://[user:password@]host:port`, `rediss://` for TLS, `redis-cluster://` for the nodes of a cluster,
        /// `redis-sentinel://` for sentinels. None: no Redis tier.
        url: Option<Secret> = None, Optional(Url(REDIS));
        /// The CAs of the server's certificate, in PEM. None: those that the system trusts.
        ca: Option<PathBuf> = None, Optional(FILE);
        /// The client's certificate chain, in PEM, if Redis asks for one.
        cert: Option<PathBuf> = None, Optional(FILE);
        /// The private key of that certificate, in PEM.
        key: Option<PathBuf> = None, Optional(FILE);
        /// Names, separated by commas, of which the server's certificate needs one, whatever address is connected to: for
        /// clusters and sentinels that announce addresses. Empty: the certificate needs the name or address connected to.
        server_names: String = String::new(), Text(0..=1024);
        /// How long a record stays at most; never longer than its snapshot stays fresh.
        ttl: Duration = hours(1), Durations(millis(1)..=days(7));
        /// Prefix of every key and of the notification channel. Clusters that share a Redis need different ones.
        prefix: String = "comprehensive_user_data".to_owned(), Text(1..=64);
        /// Timeout of a command: the delay of a request by a Redis that hangs, until its circuit opens.
        timeout: Duration = millis(50), Durations(millis(1)..=seconds(10));
        /// Payloads larger than this are compressed. For smaller ones zstd costs more than it saves.
        compress_above: usize = 1024, Bytes(0..=64 * MIB);
    }

    /// The database of the cache: cache table, invalidation log and leases.
    database: DatabaseSettings {
        /// `postgres://..`, or `sqlite://..` for instances on one machine. All instances need the same database. The
        /// default is a file below the working directory: `sqlite://./data/userdata.db?mode=rwc`.
        url: Secret = Secret::new("sqlite://./data/userdata.db?mode=rwc"), Url(SQL);
        /// `transaction`: `database.url` names a connection pooler, such as PgBouncer in transaction or session mode.
        pooler: Pooler = Pooler::None, Choice(POOLERS);
        /// How long a complete document stays fresh.
        ttl: Duration = hours(1), Durations(millis(1)..=days(7));
        /// Expiry is spread by this share of `database.ttl` to either side. 0: documents loaded together expire together,
        /// and are loaded together again.
        ttl_jitter: f64 = 0.1, Number(0.0..=0.5);
        /// The share of its lifetime after which a requested document is reloaded behind the answer (refresh-ahead). 1:
        /// never, so the first request after expiry waits.
        refresh_after: f64 = 0.8, Number(0.1..=1.0);
        /// Timeout for all reads of the cache table by one request.
        timeout: Duration = millis(200), Durations(millis(1)..=seconds(30));
        /// Connections of each instance at most; 8 more are used for the invalidation log.
        max_connections: u32 = 10, Count(1..=1000);
        /// How long an expired row serves as stale-if-error fallback (STALE) after its expiry. Older rows are swept.
        stale_if_error: Duration = days(1), Durations(millis(1)..=days(30));
        /// How often rows older than `database.stale_if_error` are swept.
        sweep_every: Duration = seconds(300), Durations(millis(10)..=days(1));
        /// Rows deleted by one statement. More hold locks for longer.
        sweep_batch: u64 = 500, Count(1..=10_000);
        /// How often access counts are written to the table. A crash loses those since the last time.
        access_counts_every: Duration = seconds(5), Durations(millis(10)..=hours(1));
        /// Keys with unwritten access counts at most; accesses of further keys are not counted.
        access_counts_max: usize = 100_000, Count(1..=10_000_000);
    }

    /// Encryption of what is stored about users, by a key for each user.
    privacy: PrivacySettings {
        /// Encrypts documents in Redis and in the table, the rows kept beside them, and cached AI responses (AES-256-GCM).
        /// Documents in memory stay in clear. What was stored in clear before is not used, and is deleted by the sweep.
        encrypt: bool = false, SWITCH;
        /// The database of the users' keys, `postgres://..` or `sqlite://..`, the same for all instances. Not the database of
        /// what they encrypt: each backup would hold both. A purge deletes the user's key also if `privacy.encrypt` is off.
        keys_url: Option<Secret> = None, Optional(Url(SQL));
        /// `transaction`: `privacy.keys_url` names a connection pooler.
        pooler: Pooler = Pooler::None, Choice(POOLERS);
        /// The file of the master keys, which wrap the users' keys: lines `NAME KEY`, the one in use first. `userdata keys
        /// new NAME` writes one. Without it, nothing that is encrypted can be read.
        master_key_file: Option<PathBuf> = None, Optional(FILE);
        /// How long a look-up in the key database may take. Until its circuit opens, a request waits for it.
        timeout: Duration = millis(200), Durations(millis(1)..=seconds(30));
        /// How long an instance holds a key in memory. An erasure drops it at once.
        keys_cached_for: Duration = minutes(5), Durations(millis(1)..=hours(24));
        /// Keys in memory at most. Each takes some 200 bytes; without it, a value costs a look-up in the key database.
        keys_cached_max: usize = 10_000, Count(16..=10_000_000);
    }

    /// The local copy of the invalidation log.
    invalidation_log: InvalidationLogSettings {
        /// How often the log is read. Without Redis, this is how long an invalidation takes to reach other instances.
        poll: Duration = millis(100), Durations(millis(1)..=seconds(10));
        /// How long the copy counts as current after each reading. All instances of a cluster need the same value.
        lease: Duration = millis(500), Durations(millis(10)..=minutes(1));
        /// How long a request waits for the log to be read again after the lease expired. Then its answer is unverified.
        renew_timeout: Duration = millis(50), Durations(millis(1)..=seconds(10));
        /// How long unverified answers come from the cache after the lease expired. Then the cache is not used.
        unverified_max: Duration = seconds(300), Durations(Duration::ZERO..=days(1));
        /// Scopes in the copy at most. If there are more, the low watermark rises: safe, but documents are reloaded.
        scopes_max: usize = 1_000_000, Count(1000..=100_000_000);
    }

    /// Loads: assembling a document from the sources.
    loads: LoadSettings {
        /// Timeout of a load. At least the hard timeout of a required source and half a second, or a load fails just
        /// before it succeeds.
        budget: Duration = seconds(10), Durations(millis(500)..=hours(1));
        /// Loads in progress at most.
        max_concurrent: usize = 16, Count(1..=10_000);
        /// Loads that wait for one in progress to finish, at most; further ones are refused.
        max_queued: usize = 64, Count(0..=100_000);
        /// Requests that wait for loads at most; further ones are refused.
        max_waiting: usize = 20_000, Count(1..=1_000_000);
        /// How long a partial document is served before the missing sections are read again.
        partial_ttl: Duration = seconds(30), Durations(millis(1)..=days(1));
        /// How long NOT_FOUND is remembered for an unknown user, unless an invalidation arrives.
        not_found_ttl: Duration = seconds(30), Durations(millis(1)..=days(1));
    }

    /// Load leases: one instance loads a document for the whole cluster.
    load_lease: LoadLeaseSettings {
        /// How often the holder of a lease writes a heartbeat. Most loads end before the first one.
        heartbeat: Duration = seconds(1), Durations(millis(10)..=minutes(1));
        /// A holder without a heartbeat for this long counts as dead. Several heartbeats, or a slow database causes
        /// duplicate loads; longer makes requests wait when an instance dies.
        takeover: Duration = seconds(5), Durations(millis(50)..=minutes(5));
        /// How often waiting instances check the lease: their extra delay after a load.
        poll: Duration = millis(100), Durations(millis(1)..=seconds(10));
        /// How long an instance waits for another one before it loads by itself. Longer than `loads.budget`.
        wait_max: Duration = seconds(15), Durations(millis(100)..=hours(1));
        /// How long a failure or NOT_FOUND of one instance is used by the others before they try again.
        outcome_max: Duration = seconds(5), Durations(Duration::ZERO..=minutes(1));
    }

    /// Prefetch on change: a changed document is loaded before it is requested. Each instance decides by the requests
    /// that it answers itself; limits are per instance.
    prefetch: PrefetchSettings {
        /// Whether documents are prefetched.
        enabled: bool = true, SWITCH;
        /// How long after the last change the load starts, so that changes in quick succession cause one load. Requests in
        /// between wait for a load of their own.
        quiet: Duration = seconds(1), Durations(Duration::ZERO..=minutes(10));
        /// How long further changes, or a busy instance, can delay the load at most.
        delay_max: Duration = seconds(10), Durations(Duration::ZERO..=hours(1));
        /// Prefetching of a document stops after this many that were not requested, until it is requested again.
        unread_max: u32 = 3, Count(1..=1000);
        /// AI calls for prefetching per hour. No prefetch calls the AI endpoint if this or one of the next two is 0.
        ai_calls_per_hour: u32 = 60, Count(0..=100_000);
        /// The same per user and day.
        ai_calls_per_user_per_day: u32 = 10, Count(0..=10_000);
        /// The same per day for all users.
        ai_calls_per_day: u32 = 500, Count(0..=100_000);
    }

    /// The tables of the planning application.
    sources: SourcesSettings {
        /// The database with the tables, read only. None: the database of the cache. With `{user}` in its path, each user
        /// has a SQLite file, such as `sqlite:///srv/alwrity/workspace/workspace_{user}/db/alwrity_{user}.db`.
        database_url: Option<Secret> = None, Optional(UrlOrTemplate(Url(SQL)));
        /// Where else a user's file may be, if it is not at `sources.database_url`: further templates, separated by commas,
        /// in the order in which the application looks.
        file_fallbacks: Vec<FileTemplate> = Vec::new(), Templates;
        /// How often the files of users who are being read are looked at: the delay until a change is seen.
        file_poll: Duration = millis(250), Durations(millis(10)..=minutes(1));
        /// A larger file of a user is not read. A file is copied before it is read; 64 MiB take some 50 ms.
        file_copy_max: u64 = 64 * MIB, Bytes(64 * KIB..=16 * 1024 * MIB);
        /// Copies of users' files at once at most; loads wait for each other beyond it. Each takes up to two threads.
        file_copies_max: usize = 32, Count(1..=1000);
        /// The size of all copies at most.
        file_copies_bytes_max: u64 = 512 * MIB, Bytes(64 * KIB..=256 * 1024 * MIB);
        /// How long a copy is kept after its last use. A copy serves all loads of its user until the file changes.
        file_copy_idle: Duration = seconds(10), Durations(millis(10)..=hours(1));
        /// The folder for the copies, in memory if possible. None: `/dev/shm`, or else the folder for temporary files.
        file_copies_in: Option<PathBuf> = None, Optional(FILE);
        /// Users whose files are looked at, at most. Each costs some 4 µs at each look. The documents of further users are
        /// looked up in Redis or the table at each request.
        files_watched_max: usize = 4096, Count(16..=1_000_000);
        /// Turns changes recorded by triggers into invalidations. Needs `userdata triggers install`.
        change_feed: bool = true, SWITCH;
        /// How often the outbox of the triggers is read, by one instance of the cluster: the delay until a change is seen.
        relay_poll: Duration = millis(25), Durations(millis(1)..=minutes(1));
        /// How old the moment may be up to which all changes are known. Later, answers are not verified.
        feed_lease: Duration = seconds(1), Durations(millis(100)..=minutes(1));
        /// How long a document is used after its changes have not been known for 10 s. Then the next request has it loaded
        /// again, behind its answer.
        unwatched_ttl: Duration = seconds(30), Durations(seconds(1)..=hours(24));
        /// More changes than this that wait at once outdate everything, instead of being read one by one.
        backlog_max: u32 = 200_000, Count(1000..=100_000_000);
        /// Installs triggers that are missing or were changed, as `userdata triggers install` does.
        repair_triggers: bool = false, SWITCH;
        /// A login that can write the outbox, if the tables are not in the database of the cache. None: no change feed
        /// from there. If database_url names a replica, this has to be its primary, and the login has to read the tables.
        relay_database_url: Option<Secret> = None, Optional(Url(SQL));
        /// `transaction`: `sources.database_url` and `sources.relay_database_url` name a connection pooler.
        pooler: Pooler = Pooler::None, Choice(POOLERS);
        /// How long a load waits until a replica of PostgreSQL has what its primary had when the load began. Then it reads
        /// the primary, by relay_database_url.
        replica_wait: Duration = millis(500), Durations(millis(10)..=minutes(1));
        /// Connections of each instance at most. With fewer than loads need, sources wait for each other.
        max_connections: u32 = 16, Count(1..=1000);
        /// How long a load waits for an optional section before it answers without it.
        soft_timeout: Duration = seconds(1), Durations(millis(1)..=minutes(10));
        /// Timeout of a source.
        hard_timeout: Duration = seconds(8), Durations(millis(1)..=minutes(10));
        /// Runs of one source in parallel at most. More only queue in the database.
        max_concurrent: usize = 16, Count(1..=10_000);
        /// A larger JSON column counts as absent, with a warning.
        column_bytes_max: usize = 256 * 1024, Bytes(KIB..=16 * MIB);
        /// Consecutive failures that open the circuit of a source.
        breaker_failures: u32 = 5, Count(1..=1000);
        /// How long an open circuit waits before it probes the source.
        breaker_pause: Duration = seconds(2), Durations(millis(10)..=minutes(10));
    }

    /// Staleness check: comparing served documents with the sources. Runs only with a change feed.
    staleness_check: StalenessCheckSettings {
        /// The share of hits that are sampled. 0: none.
        share: f64 = 0.01, Number(0.0..=1.0);
        /// How often a sample is compared. Each comparison costs as much as a load.
        every: Duration = seconds(1), Durations(millis(1)..=hours(1));
    }

    /// The AI endpoint.
    ai: AiSettings {
        /// An OpenAI-compatible endpoint, such as `https://host/v1`. None: rules make the analysis.
        base_url: Option<String> = None, Optional(ENDPOINT);
        /// Allows an endpoint on another machine by plain `http://`, such as a model server in the same cluster. Everything
        /// on the way can read and change what is sent and answered.
        insecure_http: bool = false, SWITCH;
        /// The name of the model.
        model: String = String::new(), Text(0..=200);
        /// The bearer token for the endpoint. None: no token is sent.
        api_key: Option<Secret> = None, Optional(SecretText);
        /// Further headers of each call, such as `api-key: ..`: one `name: value` per line.
        headers: Option<Secret> = None, Optional(HeaderLines);
        /// The query of the address, such as `api-version=2024-10-21`.
        query: Option<Secret> = None, Optional(SecretText);
        /// The HTTP proxy for all calls, such as `http://[user:password@]host:3128`. None: no proxy, whatever the
        /// environment says.
        proxy: Option<Secret> = None, Optional(Url(HTTP));
        /// Sampling temperature: how much responses to the same request differ. None: it is not sent, for models that refuse
        /// it.
        temperature: Option<f64> = Some(0.2), Optional(Number(0.0..=2.0));
        /// Tokens of a response at most. A longer analysis is cut off and cannot be used. Thoughts count too.
        max_output_tokens: u32 = 4096, Count(256..=100_000);
        /// The member of a request that carries `ai.max_output_tokens`. Newer models of OpenAI need
        /// `max_completion_tokens`; with `none` the limit is not sent.
        token_limit_field: TokenLimitField = TokenLimitField::MaxTokens,
            Choice(&[("max_tokens", TokenLimitField::MaxTokens),
                ("max_completion_tokens", TokenLimitField::MaxCompletionTokens), ("none", TokenLimitField::None)]);
        /// How a request describes the form of the response: `response_format`, or the prompt alone with `none`.
        structured: Structured = Structured::JsonSchema,
            Choice(&[("json_schema", Structured::JsonSchema), ("json_object", Structured::JsonObject),
                ("none", Structured::None)]);
        /// How long a load waits for the call before it answers without the section. The call continues.
        soft_timeout: Duration = seconds(8), Durations(millis(1)..=minutes(10));
        /// Timeout of the call. Shorter aborts calls that cost money.
        hard_timeout: Duration = seconds(60), Durations(millis(1)..=minutes(30));
        /// Calls started per minute and instance at most: limits the cost of a mistake.
        calls_per_minute: u32 = 60, Count(1..=100_000);
        /// How long the endpoint is not asked again after a response that cannot be used, about the same input. The pause
        /// doubles with each further one. Shorter pays more often for nothing.
        retry_pause: Duration = minutes(1), Durations(millis(1)..=days(1));
        /// The longest such pause.
        retry_pause_max: Duration = days(1), Durations(millis(1)..=days(30));
    }

    /// The log.
    log: LogSettings {
        /// A `tracing` filter, such as `info,userdata=debug`. Spans per HTTP/2 frame are always off.
        filter: String = "info".to_owned(), FILTER;
        /// `text` for people, `json` for log collectors: one object per line.
        format: LogFormat = LogFormat::Text, Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    }

    /// The demo data.
    demo: DemoSettings {
        /// Writes demo data at start if the sources are empty. The key `demo` alone is this setting too.
        enabled: bool = false, SWITCH;
        /// The day that the dates are relative to. None: today.
        as_of: Option<NaiveDate> = None, Optional(DAY);
    }
}
