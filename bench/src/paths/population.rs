//! Many users with documents of one size. One document is assembled and sealed again under the others' keys; the tier's
//! own code stores them in Redis. Instances take them from there like another instance's.
//!
//! Their rows have no documents: they hold the access counts, which are part of a hit's cost.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use sea_orm::ConnectionTrait as _;
use userdata::{
    cache::tiers::redis::RedisTier,
    clock::Clock,
    config::{self, Secret},
    model::{CacheKey, Parameters, Snapshot, UserDataQuery, UserId, snapshot::Sealed},
};

use super::{
    drive::{CONNECTIONS, Call, STREAMS, Until, closed},
    instance::Instance,
};
use testkit::{
    database::Kind,
    redis::{Redis, redis},
    sources::{Sources, sources},
    wait_for,
};

/// All ids have seven digits, so documents differ only in the id.
const FIRST: u64 = 1_000_000;
/// Users in Redis at once: it only transports them.
const AT_ONCE: u64 = 5_000;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a document without its filler text: half of the smallest reply.
const BARE_BYTES: usize = 1_600;

/// The users, and the origin of their documents.
#[derive(Debug)]
pub(super) struct Population {
    sources: Sources,
    redis: Redis,
    tier: RedisTier,
    template: Snapshot,
}

/// The user of this number.
pub(super) fn user(number: u64) -> String {
    (FIRST + number).to_string()
}

/// Visits every user once per cycle, in an order that no cache can predict.
pub(super) fn any_of(users: u64, number: u64) -> u64 {
    // A prime that divides no power of ten.
    number.wrapping_mul(7_919) % users
}

impl Population {
    /// Documents of about this size.
    pub(super) async fn new(kind: Kind, document_bytes: usize) -> Self {
        let (sources, redis) = (sources(kind).await, redis().await);
        let id = i32::try_from(FIRST).expect("seven digits");
        sources.add_user(&user(0), &[id]).await;
        let text: String = "meaningless filler words here ".chars().cycle().take(document_bytes - BARE_BYTES).collect();
        let lengthen = format!("UPDATE enhanced_content_strategies SET competitor_content_strategies = '\"{text}\"'");
        sources.db.execute_unprepared(&lengthen).await.unwrap();

        let config =
            config::RedisSettings { url: Some(Secret::new(redis.url())), ttl: DAY, ..config::RedisSettings::default() };
        // No slow step may fail.
        let config = config::RedisSettings { timeout: Duration::from_secs(10), ..config };
        let tier = RedisTier::connect(&config, Clock::system()).await.unwrap();
        assert!(tier.connected_within(Duration::from_secs(10)).await, "Redis runs");
        let first = Instance::start(&borrowed(&settings(&sources, &redis))).await;
        first.get(&user(0)).await;
        let key = key(&user(0));
        let stored = wait_for("the document in Redis", async || tier.get(&key).await.ok().flatten());
        let template = stored.await;
        sources.database.wait_for_documents(1).await;
        Self { sources, redis, tier, template }
    }

    /// An instance with room for all documents, which never expire.
    pub(super) async fn instance(&self) -> Instance {
        self.instance_with(&[]).await
    }

    /// The same with further settings.
    pub(super) async fn instance_with(&self, further: &[(&str, &str)]) -> Instance {
        let all = settings(&self.sources, &self.redis);
        Instance::start(&[&borrowed(&all), further].concat()).await
    }

    /// Bytes of one document.
    pub(super) fn document_bytes(&self) -> u64 {
        self.template.payload.len() as u64
    }

    /// Fills the memory tiers of instances with their first users.
    pub(super) async fn fill(&self, instances: &[(&Instance, u64)]) {
        let most = instances.iter().map(|(_, users)| *users).max().unwrap_or_default();
        let mut first = 0;
        while first < most {
            let last = most.min(first + AT_ONCE);
            self.store(first, last).await;
            for (instance, users) in instances {
                let wanted = last.min(*users).saturating_sub(first);
                ask_for(instance.address, first, wanted);
            }
            assert_eq!(self.redis.command("FLUSHALL").await, "+OK");
            eprintln!("{last} users of {most}");
            first = last;
        }
        for (instance, users) in instances {
            assert_eq!(instance.held().await, i64::try_from(*users).unwrap(), "all documents are in memory");
        }
    }

    /// Stores documents in Redis, and their rows in the table.
    async fn store(&self, first: u64, last: u64) {
        let stored = stream::iter(first..last).map(|number| async move {
            self.tier.put_by(None, &self.sealed_for(&user(number)), 0).await.unwrap();
        });
        stored.buffer_unordered(CONNECTIONS * STREAMS).collect::<()>().await;
        let rows = |number| format!("('{}', '{}')", user(number), key(&user(number)).hash);
        let rows: Vec<String> = (first.max(1)..last).map(rows).collect();
        let copy = format!(
            "WITH copy (id, hash) AS (VALUES {}) \
             INSERT INTO comprehensive_user_data_cache (user_id, strategy_id, data_hash, comprehensive_data, created_at, \
             expires_at, last_accessed, access_count, strategy_key, read_position, as_of, log_epoch, sections, complete, format) \
             SELECT copy.id, strategy_id, copy.hash, '{{}}', created_at, expires_at, last_accessed, 0, strategy_key, \
             read_position, as_of, log_epoch, sections, complete, format \
             FROM comprehensive_user_data_cache AS template, copy WHERE template.user_id = '{}' \
             ON CONFLICT DO NOTHING",
            rows.join(", "),
            user(0)
        );
        if !rows.is_empty() {
            self.sources.database.execute(&copy).await;
        }
    }

    fn sealed_for(&self, user: &str) -> Snapshot {
        let template = &self.template;
        let mut payload = template.payload.to_vec();
        let name = template.key.user.as_str().as_bytes();
        let places: Vec<usize> =
            payload.windows(name.len()).enumerate().filter(|(_, bytes)| *bytes == name).map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "a document names its user");
        for at in places {
            payload[at..at + name.len()].copy_from_slice(user.as_bytes());
        }
        Sealed {
            key: key(user),
            epoch: template.epoch.clone(),
            payload: Bytes::from(payload),
            sections: template.sections.clone(),
            as_of: template.as_of,
            expires_at: template.expires_at,
        }
        .into()
    }
}

/// Requests each of these users once.
fn ask_for(address: SocketAddr, first: u64, users: u64) {
    let ran = closed(address, (CONNECTIONS, STREAMS), Until::Calls(users), |number| Call::get(user(first + number)));
    assert_eq!(ran.calls, users, "every call was answered");
}

fn key(user: &str) -> CacheKey {
    UserDataQuery::new(UserId::parse(user).unwrap(), None, Parameters::none()).key().clone()
}

fn settings(sources: &Sources, redis: &Redis) -> Vec<(&'static str, String)> {
    let day = || "1d".to_owned();
    vec![
        ("database.url", sources.database.url.clone()),
        ("redis.url", redis.url()),
        ("memory.ttl", day()),
        ("redis.ttl", day()),
        ("database.ttl", day()),
        // Above the real number: the tier counts each document with at least its share of the limit.
        ("memory.max_entries", "10000000".to_owned()),
        ("memory.max_bytes", (32_u64 << 30).to_string()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
