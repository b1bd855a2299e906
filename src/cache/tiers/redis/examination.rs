//! Examines a Redis for the doctor. It writes a record of a user of its own and removes it again. Instances ignore the
//! message that it publishes.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use chrono::TimeDelta;
use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, KeysInterface, PubsubInterface},
};

use super::{
    KEYS_WALKED_AT_ONCE, RedisTier,
    client::{self, EVENTS_MAX},
    connection_errors::ConnectionErrors,
};
use crate::{
    cache::tiers::{error::TierError, record},
    clock::Clock,
    config,
    model::{Parameters, Scope, SectionSet, Snapshot, UserDataQuery, UserId},
};

/// Enough for a median without outliers.
const PINGS: usize = 9;
/// Records at whose heads it looks: enough to meet both of two deployments that are in use.
const RECORDS_MAX: usize = 500;
const LATELY: TimeDelta = TimeDelta::minutes(1);
/// Within the time that a message may take.
const PUBLICATIONS: u32 = 5;

#[derive(Clone, Debug)]
pub struct Examined {
    /// None: the user may not ask for it.
    pub info: Option<RedisInfo>,
    /// The median round trip.
    pub latency: Duration,
    /// What an instance does and this user cannot, and why.
    pub refused: Vec<(&'static str, TierError)>,
    /// How long a message took from one connection to another, if it arrived.
    pub heard_after: Option<Duration>,
    /// How many invalidation logs the documents belong to that were assembled in the last minute.
    pub logs_lately: usize,
}

/// What INFO says.
#[derive(Clone, Debug)]
pub struct RedisInfo {
    pub version: String,
    /// `master` or `slave`, as Redis calls it.
    pub role: String,
    /// In bytes; 0 for no limit.
    pub memory_max: u64,
    /// The policy when memory is full.
    pub eviction: String,
}

impl RedisInfo {
    fn of(info: &str) -> Self {
        let said = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        Self {
            version: said("redis_version"),
            role: said("role"),
            memory_max: said("maxmemory").parse().unwrap_or_default(),
            eviction: said("maxmemory_policy"),
        }
    }
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
    // A least-privileged user may not ask, and an instance never does.
    let info = asking.info::<String>(None).await.ok().map(|info| RedisInfo::of(&info));
    let examined = Examined {
        info,
        latency: pings[PINGS / 2],
        heard_after: heard_after(&asking, &hearing, &client::channel(config), &clock, patience).await,
        // Best effort, as every look into a Redis that others write to.
        logs_lately: logs_lately(&asking, &config.prefix, &clock).await.unwrap_or_default(),
        refused: refused(config, patience, &clock).await?,
    };
    // Best effort: the connections end with the process.
    let _ = tokio::join!(asking.quit(), hearing.quit());
    Ok(examined)
}

/// Connects, or returns the last error of the attempts.
async fn connected(config: &config::RedisSettings, patience: Duration) -> Result<Client, TierError> {
    let client = client::build(config, patience, EVENTS_MAX).await?;
    let errors = ConnectionErrors::of(&client);
    // fred retries for ever.
    let connection = client.connect();
    let connected = tokio::time::timeout(patience, client.wait_for_connect()).await;
    match connected {
        Ok(Ok(())) => Ok(client),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            connection.abort();
            Err(errors.not_connected().into())
        }
    }
}

/// Does with a record what an instance does, and returns what is refused.
async fn refused(
    config: &config::RedisSettings,
    patience: Duration,
    clock: &Clock,
) -> Result<Vec<(&'static str, TierError)>, TierError> {
    let patient = config::RedisSettings { timeout: patience, ..config.clone() };
    let tier = RedisTier::connect(&patient, clock.clone()).await?;
    if !tier.connected_within(patience).await {
        return Err(tier.not_connected());
    }
    let user = UserId::parse(&format!("doctor {}", uuid::Uuid::new_v4())).expect("it is short and printable");
    let query = UserDataQuery::new(user.clone(), None, Parameters::none());
    let now = clock.utc();
    let snapshot = Snapshot::seal(query.key().clone(), "doctor".into(), now, now + LATELY, Vec::new());
    let scope = Scope { user: user.clone(), strategy: None, sections: SectionSet::ALL };
    let stored = tier.put_by(None, &snapshot, 0).await;
    let found = match tier.get(&snapshot.key).await {
        Ok(None) if stored.is_ok() => Err(TierError::Garbage("what was stored is not there".to_owned())),
        found => found.map(drop),
    };
    let done = [
        ("store documents", stored),
        ("read documents", found),
        ("drop documents after an invalidation", tier.remove(&scope).await.map(drop)),
        ("erase a user", tier.purge(&user).await.map(drop)),
    ];
    tier.close().await;
    Ok(done.into_iter().filter_map(|(what, done)| Some((what, done.err()?))).collect())
}

/// Looks at the heads of some records, never at a document.
async fn logs_lately(asking: &Client, prefix: &str, clock: &Clock) -> Result<usize, Error> {
    let (mut cursor, mut looked_at, mut logs) = ("0".to_owned(), 0, HashSet::new());
    let since = clock.utc() - LATELY;
    loop {
        let names: Vec<String>;
        (cursor, names) = asking.scan_page(cursor, format!("{prefix}:*"), Some(KEYS_WALKED_AT_ONCE), None).await?;
        for name in names.into_iter().take(RECORDS_MAX - looked_at) {
            looked_at += 1;
            // An index of keys has another type, and fails.
            let head = asking.getrange::<Bytes, _>(name, 0, record::HEAD_COMPARED - 1).await.unwrap_or_default();
            logs.extend(record::assembled(&head).filter(|(as_of, _)| *as_of > since).map(|(_, log)| log));
        }
        if cursor == "0" || looked_at >= RECORDS_MAX {
            return Ok(logs.len());
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
