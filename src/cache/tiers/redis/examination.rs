//! Examines a Redis for the doctor. It writes nothing, and instances ignore the message that it publishes.

use std::time::Duration;

use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
};

use super::client::{self, EVENTS_MAX};
use crate::{cache::tiers::error::TierError, clock::Clock, config};

/// Enough for a median without outliers.
const PINGS: usize = 9;
/// Within the time that a message may take.
const PUBLICATIONS: u32 = 5;

#[derive(Clone, Debug)]
pub struct Examined {
    pub version: String,
    /// `master` or `slave`, as Redis calls it.
    pub role: String,
    /// In bytes; 0 for no limit.
    pub memory_max: u64,
    /// The policy when memory is full.
    pub eviction: String,
    /// The median round trip.
    pub latency: Duration,
    /// How long a message took from one connection to another, if it arrived.
    pub heard_after: Option<Duration>,
}

/// Waits up to `patience` for each answer.
pub async fn examine(config: &config::RedisSettings, patience: Duration) -> Result<Examined, TierError> {
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
    // Best effort: the connections end with the process.
    let _ = tokio::join!(asking.quit(), hearing.quit());
    Ok(examined)
}

/// Connects, or returns the last error of the attempts.
async fn connected(config: &config::RedisSettings, patience: Duration) -> Result<Client, TierError> {
    let url = config.url.as_ref().map(config::Secret::expose).unwrap_or_default();
    let client = client::build(url, patience, EVENTS_MAX)?;
    let mut errors = client.error_rx();
    // fred retries for ever.
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
    // The subscription may take effect after its answer, so a message that does not arrive is published again.
    for _ in 0..PUBLICATIONS {
        let began = clock.now();
        asking.publish::<i64, _, _>(channel, word.as_str()).await.ok()?;
        let heard = async {
            // Instances use the same channel.
            while messages.recv().await.ok()?.value.as_str().as_deref() != Some(word.as_str()) {}
            Some(clock.now().since(began))
        };
        if let Ok(heard) = tokio::time::timeout(patience / PUBLICATIONS, heard).await {
            return heard;
        }
    }
    None
}
