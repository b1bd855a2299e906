//! Asking a Redis what it is, for whoever wants to know whether it can be used. It writes nothing; what it publishes
//! is no position, which instances pass over.

use std::time::Duration;

use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
};

use super::client::{self, EVENTS_MAX};
use crate::{cache::tiers::error::TierError, clock::Clock, config};

/// Enough for a median that one slow answer does not move.
const PINGS: usize = 9;

/// What a Redis says about itself.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Of the server.
    pub version: String,
    /// `master` or `slave`, in its words.
    pub role: String,
    /// Bytes at most; 0: no limit.
    pub memory_max: u64,
    /// What it does when they are used up.
    pub eviction: String,
    /// The median time to an answer.
    pub latency: Duration,
    /// How long a message took from one connection to another; none if it did not arrive.
    pub heard_after: Option<Duration>,
}

/// Asks it, patiently: each answer within `patience`.
pub async fn examine(config: &config::Redis, patience: Duration) -> Result<Examined, TierError> {
    let asking = connected(config, patience).await?;
    let hearing = connected(config, patience).await?;
    let clock = Clock::system();
    let mut pings = [Duration::ZERO; PINGS];
    for ping in &mut pings {
        let began = clock.now();
        asking.ping::<fred::types::Value>(None).await?;
        *ping = clock.now().since(began);
    }
    pings.sort();
    let info: String = asking.info(None).await?;
    let said = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let examined = Examined {
        version: said("redis_version"),
        role: said("role"),
        memory_max: said("maxmemory").parse().unwrap_or_default(),
        eviction: said("maxmemory_policy"),
        latency: pings[PINGS / 2],
        heard_after: heard_after(&asking, &hearing, &client::channel(config), &clock, patience).await,
    };
    // Best effort: the connections end with this process.
    let _ = tokio::join!(asking.quit(), hearing.quit());
    Ok(examined)
}

/// A client with a connection, or why there is none.
async fn connected(config: &config::Redis, patience: Duration) -> Result<Client, TierError> {
    let url = config.url.as_ref().map(config::Secret::expose).unwrap_or_default();
    let client = client::build(url, patience, EVENTS_MAX)?;
    let mut errors = client.error_rx();
    // It goes on trying for ever.
    let connection = client.connect();
    let connected = tokio::time::timeout(patience, client.wait_for_connect()).await;
    match connected {
        Ok(Ok(())) => Ok(client),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            connection.abort();
            let mut last: Option<Error> = None;
            while let Ok((error, _)) = errors.try_recv() {
                last = Some(error);
            }
            Err(last.map_or(TierError::Timeout, TierError::from))
        }
    }
}

async fn heard_after(
    asking: &Client,
    hearing: &Client,
    channel: &str,
    clock: &Clock,
    patience: Duration,
) -> Option<Duration> {
    let mut messages = hearing.message_rx();
    hearing.subscribe(channel).await.ok()?;
    let word = format!("doctor {}", uuid::Uuid::new_v4());
    let began = clock.now();
    asking.publish::<i64, _, _>(channel, word.as_str()).await.ok()?;
    let heard = async {
        // Instances may be talking on the same channel.
        while let Ok(message) = messages.recv().await {
            if message.value.as_str().as_deref() == Some(word.as_str()) {
                return Some(clock.now().since(began));
            }
        }
        None
    };
    tokio::time::timeout(patience, heard).await.ok().flatten()
}
