//! fred's client with explicit options: the defaults wait for ever and queue without bound.

use std::time::Duration;

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    types::{
        Builder,
        config::{
            Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server, ServerConfig, TcpConfig,
            UnresponsiveConfig,
        },
    },
};

use super::{tls, url};
use crate::config;

/// Longer than a request may wait: connecting includes TLS and authentication.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// A connection without an answer for so long after a command timed out is replaced; TCP alone notices after minutes.
/// Every command restarts this time, so it has to be shorter than the pause between probes. Otherwise a connection that
/// swallows everything stays for ever.
const SILENCE_MAX: Duration = Duration::from_millis(250);
/// How often fred checks for it.
const SILENCE_CHECKED_EVERY: Duration = Duration::from_millis(100);
/// Commands in the queue: several times as many as fit into one timeout.
const COMMANDS_MAX: usize = 4096;

/// Queued events of a subscribing client: fred's default of 32 loses some under load.
pub(super) const EVENTS_MAX: usize = 4096;
/// Of a client without subscriptions: fred allocates the queues anyway, eight of them. Its default.
pub(super) const EVENTS_UNHEARD: usize = 32;

/// The channel for notifications between the instances of a cluster.
pub(super) fn channel(config: &config::RedisSettings) -> String {
    format!("{}:notifications", config.prefix)
}

/// Of one node of a cluster.
pub(super) fn at(cluster: &Config, node: &Server) -> Config {
    Config { server: ServerConfig::Centralized { server: node.clone() }, ..cluster.clone() }
}

/// An unconnected client; `timeout` is for one command.
pub(super) fn of(mut config: Config, timeout: Duration, events_max: usize) -> Result<Client, Error> {
    // Otherwise the connection task ends if Redis is down at start.
    config.fail_fast = false;
    // 50 ms, 100 ms, .. 1 s, for ever. fred waits for the first delay even before the first attempt.
    let mut reconnect = ReconnectPolicy::new_linear(0, 1000, 50);
    reconnect.set_jitter(25);
    Builder::from_config(config)
        .with_connection_config(|connection| {
            *connection = ConnectionConfig {
                connection_timeout: CONNECT_TIMEOUT,
                internal_command_timeout: CONNECT_TIMEOUT,
                // After a failure the next tier answers; the command is not repeated.
                max_command_attempts: 1,
                max_redirections: 5,
                max_command_buffer_len: COMMANDS_MAX,
                unresponsive: UnresponsiveConfig {
                    max_timeout: Some(timeout + SILENCE_MAX),
                    interval: SILENCE_CHECKED_EVERY,
                },
                reconnect_on_auth_error: true,
                tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
                ..ConnectionConfig::default()
            };
        })
        .with_performance_config(|performance| {
            *performance = PerformanceConfig {
                default_command_timeout: timeout,
                broadcast_channel_capacity: events_max,
                ..PerformanceConfig::default()
            };
        })
        .set_policy(reconnect)
        .build()
}

/// fred reads the URL, and makes its own TLS configuration only for the system's authorities.
pub(super) async fn configured(config: &config::RedisSettings) -> Result<Config, Error> {
    let url = config.url.as_ref().ok_or_else(|| Error::new(ErrorKind::Config, "no Redis URL"))?.expose();
    match (url::without_tls(url), tls::config(config).await?) {
        (Some(plain), Some(tls)) => Ok(Config { tls: Some(tls), ..Config::from_url(&plain)? }),
        _ => Config::from_url(url),
    }
}
