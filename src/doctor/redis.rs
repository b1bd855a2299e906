//! Redis: reachable, new enough, with the rights that an instance needs, with a memory limit, and delivering
//! notifications.

use super::{Findings, REACH_MAX};
use crate::{
    cache::tiers::redis::{Examined, RedisInfo, examine as ask, parameters_without_effect},
    config::RedisSettings,
};

pub(super) const HANGS: &str = "Redis takes connections and does not answer: look at its processor, and whether it is \
    saving or swapping; answers go on without it";
/// Since then, a script can write after it has read the time.
const MAJOR_MIN: u32 = 5;

pub(super) async fn examine(config: &RedisSettings, found: &mut Findings) {
    let Some(url) = &config.url else {
        return found.ok("redis", "not configured (redis.url): memory and the table are the tiers");
    };
    let place = url.place();
    let parameters = parameters_without_effect(url.expose());
    if !parameters.is_empty() {
        found.warn(
            "redis url",
            format!("redis.url has parameters that have no effect: {}", parameters.join(", ")),
            "correct or remove them; docs/operating.md has the parameters of each kind of URL",
        );
    }
    match ask(config, REACH_MAX / 2).await {
        Ok(redis) => judge(&redis, &place, config, found),
        Err(error) => found.fail(
            "redis",
            format!("{place}: {}", error.line()),
            "start it, or correct redis.url (host, port, user, password, TLS); until then answers come without it",
        ),
    }
}

fn judge_info(info: &RedisInfo, place: &str, found: &mut Findings) {
    let RedisInfo { version, role, memory_max, eviction } = info;
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major| major < MAJOR_MIN) {
        found.fail("redis", format!("{place} is version {version}"), format!("use version {MAJOR_MIN} or later"));
    } else {
        found.ok("redis", format!("{place} answers, version {version}"));
    }
    if role == "slave" {
        found.fail(
            "redis role",
            "it is a replica, which takes no writes",
            "point redis.url at the primary, or use redis-sentinel:// and let the sentinels say which one that is",
        );
    }
    match (memory_max, eviction.as_str()) {
        (0, _) => found.warn(
            "redis memory",
            "it has no limit: it grows until the machine has no more",
            "set maxmemory, and maxmemory-policy allkeys-lru",
        ),
        (_, "noeviction") => found.warn(
            "redis memory",
            "when it is full it refuses writes (noeviction), and new documents are not kept in it",
            "set maxmemory-policy allkeys-lru: a dropped document is read from the table",
        ),
        (bytes, _) => found.ok("redis memory", format!("{} MiB at most, then {eviction}", bytes / (1 << 20))),
    }
}

/// What helps if Redis refuses to do something with a record.
fn remedy_of(error: &str) -> &'static str {
    if ["NOPERM", "user executing the script"].iter().any(|sign| error.contains(sign)) {
        "grant the rights that docs/operating.md lists (ACL SETUSER), scripts included; until then Redis is of no use"
    } else if error.contains("CLUSTERDOWN") {
        "bring its masters back; cluster-require-full-coverage no lets the others answer meanwhile; until then Redis is of no use"
    } else {
        "see UserdataCacheWritesFail in docs/runbook.md; until then Redis is of no use"
    }
}

fn judge(redis: &Examined, place: &str, config: &RedisSettings, found: &mut Findings) {
    match &redis.info {
        Some(info) => judge_info(info, place, found),
        None => found.ok("redis", format!("{place} answers; its user may not ask for version, role and memory (INFO)")),
    }
    let Examined { latency, away, refused, heard_after, logs_lately, .. } = redis;
    for (master, error) in away {
        found.fail(
            "redis nodes",
            format!("the master {master} cannot be reached: {}", error.line()),
            "start it, or let a replica take over; until then the documents in its slots come from the table, and a purge fails",
        );
    }
    for (what, error) in refused {
        let error = error.line();
        found.fail("redis rights", format!("it cannot {what}: {error}"), remedy_of(&error));
    }
    if refused.is_empty() {
        let all = "stored, read, dropped and erased";
        let done = if away.is_empty() { all } else { "stored, read and dropped; to erase one takes every master" };
        found.ok("redis rights", format!("a record was {done}"));
    }
    let timeout = config.timeout;
    if *latency * 2 > timeout {
        found.warn(
            "redis latency",
            format!("half of the answers take longer than {latency:.1?}, and redis.timeout is {timeout:?}"),
            "bring it nearer or raise redis.timeout: its circuit opens after three answers that come too late",
        );
    } else {
        found.ok("redis latency", format!("{latency:.1?} at the median, of {timeout:?} (redis.timeout)"));
    }
    if *logs_lately > 1 {
        found.warn(
            "redis prefix",
            format!("{logs_lately} invalidation logs have documents of the last minute under the prefix {}", config.prefix),
            "give each deployment its own redis.prefix, and all instances of one the same database.url; after a failover of \
             the database it passes by itself",
        );
    }
    match heard_after {
        Some(after) => found.ok("redis notifications", format!("a message arrives after {after:.1?}")),
        None => found.warn(
            "redis notifications",
            "a published message does not arrive at another connection",
            format!(
                "allow PUBLISH and SUBSCRIBE on the channel {}:notifications; until then an invalidation reaches the other \
                 instances with invalidation_log.poll",
                config.prefix
            ),
        ),
    }
}
