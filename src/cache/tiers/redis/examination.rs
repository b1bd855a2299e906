//! Examines a Redis for the doctor, by the connections that an instance has: one to each master of a cluster. It writes a
//! record of a user of its own and removes it again. Instances ignore the message that it publishes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, KeysInterface, PubsubInterface},
};

use super::{KEYS_WALKED_AT_ONCE, RedisTier, nodes::Node};
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
/// Users of whom one has its slot at a master that answers.
const USERS_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct Examined {
    /// None: the user may not ask for it.
    pub info: Option<RedisInfo>,
    /// The median round trip.
    pub latency: Duration,
    /// Masters of a cluster that cannot be reached, and why.
    pub away: Vec<(String, TierError)>,
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

/// Waits up to `patience` for each answer. Fails if no server can be reached.
pub async fn examine(config: &config::RedisSettings, patience: Duration) -> Result<Examined, TierError> {
    let clock = Clock::system();
    let patient = config::RedisSettings { timeout: patience, ..config.clone() };
    let tier = RedisTier::connect(&patient, clock.clone()).await?;
    // All of them, if they can be reached.
    tier.connected_within(2 * patience).await;
    let (masters, away): (Vec<_>, Vec<_>) =
        tier.nodes.masters().into_iter().partition(|node| node.client.is_connected());
    let Some(asked) = masters.first() else { return Err(tier.not_connected()) };
    let asking = &asked.client;
    let away: Vec<_> = away.iter().filter_map(|node| Some((node.server()?.to_string(), unreachable(node)))).collect();
    let latency = latency(&masters, &clock).await?;
    // A least-privileged user may not ask, and an instance never does.
    let info = asking.info::<String>(None).await.ok().map(|info| RedisInfo::of(&info));
    let examined = Examined {
        info,
        latency,
        heard_after: heard_after(&tier, asked, patience).await,
        // Best effort, as every look into a Redis that others write to.
        logs_lately: logs_lately(&masters, &config.prefix, &clock).await.unwrap_or_default(),
        refused: refused(&tier, away.is_empty()).await,
        away,
    };
    tier.close().await;
    Ok(examined)
}

fn unreachable(node: &Node) -> TierError {
    node.errors.not_connected().into()
}

/// The median of all masters' answers.
async fn latency(masters: &[Arc<Node>], clock: &Clock) -> Result<Duration, TierError> {
    let mut pings = Vec::with_capacity(PINGS * masters.len());
    for node in masters.iter().cycle().take(PINGS * masters.len()) {
        let began = clock.now();
        node.client.ping::<fred::types::Value>(None).await?;
        pings.push(clock.now().since(began));
    }
    pings.sort();
    Ok(pings[pings.len() / 2])
}

/// Does with a record what an instance does, and returns what is refused. Erasures need every master.
async fn refused(tier: &RedisTier, are_all_there: bool) -> Vec<(&'static str, TierError)> {
    let user = user_within_reach(tier);
    let query = UserDataQuery::new(user.clone(), None, Parameters::none());
    let now = tier.clock.utc();
    let snapshot = Snapshot::seal(query.key().clone(), "doctor".into(), now, now + LATELY, Vec::new());
    let scope = Scope { user: user.clone(), strategy: None, sections: SectionSet::ALL };
    let stored = tier.put_by(None, &snapshot, 0).await;
    let found = match tier.get(&snapshot.key).await {
        Ok(None) if stored.is_ok() => Err(TierError::Garbage("what was stored is not there".to_owned())),
        found => found.map(drop),
    };
    let dropped = tier.remove(&scope).await.map(drop);
    let erased = if are_all_there { tier.purge(&user).await.map(drop) } else { Ok(()) };
    let done = [
        ("store documents", stored),
        ("read documents", found),
        ("drop documents after an invalidation", dropped),
        ("erase a user", erased),
    ];
    done.into_iter().filter_map(|(what, done)| Some((what, done.err()?))).collect()
}

/// A user of the doctor's own whose slot is at a master that can be reached.
fn user_within_reach(tier: &RedisTier) -> UserId {
    let user = || UserId::parse(&format!("doctor {}", uuid::Uuid::new_v4())).expect("it is short and printable");
    let is_within_reach = |user: &UserId| {
        let node = tier.nodes.of(&tier.names(user).index());
        node.is_some_and(|node| node.client.is_connected())
    };
    std::iter::repeat_with(user).take(USERS_MAX).find(is_within_reach).unwrap_or_else(user)
}

/// Looks at the heads of some records of each master, never at a document.
async fn logs_lately(masters: &[Arc<Node>], prefix: &str, clock: &Clock) -> Result<usize, Error> {
    let (mut logs, since) = (HashSet::new(), clock.utc() - LATELY);
    for node in masters {
        add_logs(&node.client, prefix, since, &mut logs).await?;
    }
    Ok(logs.len())
}

async fn add_logs(
    asking: &Client,
    prefix: &str,
    since: DateTime<Utc>,
    logs: &mut HashSet<[u8; 8]>,
) -> Result<(), Error> {
    let (mut cursor, mut looked_at) = ("0".to_owned(), 0);
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
            return Ok(());
        }
    }
}

/// How long a message takes to another connection, as notifications do.
async fn heard_after(tier: &RedisTier, asked: &Node, patience: Duration) -> Option<Duration> {
    let hearing = tier.nodes.subscribing(asked).ok()?;
    let mut messages = hearing.message_rx();
    // fred retries for ever; the task ends with the client.
    let connection = hearing.connect();
    let heard = async {
        tokio::time::timeout(patience, hearing.wait_for_connect()).await.ok()?.ok()?;
        hearing.subscribe(tier.channel.as_str()).await.ok()?;
        let word = format!("doctor {}", uuid::Uuid::new_v4());
        // The subscription may take effect after its answer, so a message that does not arrive is published again.
        for _ in 0..PUBLICATIONS {
            let began = tier.clock.now();
            asked.client.publish::<i64, _, _>(tier.channel.as_str(), word.as_str()).await.ok()?;
            let heard = async {
                // Instances use the same channel.
                while messages.recv().await.ok()?.value.as_str().as_deref() != Some(word.as_str()) {}
                Some(tier.clock.now().since(began))
            };
            if let Ok(heard) = tokio::time::timeout(patience / PUBLICATIONS, heard).await {
                return heard;
            }
        }
        None
    };
    let heard = heard.await;
    connection.abort();
    heard
}
