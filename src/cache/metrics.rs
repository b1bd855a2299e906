//! The observable metrics of the cache: read from its counters when a collector asks.
//!
//! The callbacks live as long as the provider, so they hold the cache weakly: shutdown waits for the cache to be dropped.

use std::sync::Arc;

use super::{UserDataCache, counters::count, tiers::tier_metrics::WriteOutcome, watched_files::FileLevels};
use crate::{
    model::{CacheStatus, Tier},
    privacy::KeyCounts,
    telemetry::{
        Meter, Observe,
        names::{self, Instrument},
    },
};

const SECTION_NAMES: &[&str] = names::SECTIONS.attributes[0].values;

impl UserDataCache {
    /// Registers all instruments.
    pub fn observe(self: &Arc<Self>, meter: &Meter) {
        let read = |of: &'static Instrument, observe: ReadMetric| {
            let cache = Arc::downgrade(self);
            meter.observe(of, move |observer| {
                if let Some(cache) = cache.upgrade() {
                    observe(&cache, observer);
                }
            });
        };
        read(&names::SERVED, |cache, observe| {
            for (name, answers) in CacheStatus::NAMES.iter().zip(cache.counters.answers()) {
                observe(&[name], number(answers));
            }
        });
        read(&names::SUPERSEDED, |cache, observe| observe(&[], number(cache.tiers.superseded.get())));
        read(&names::UNVERIFIED, |cache, observe| observe(&[], number(cache.counters.unverified.get())));
        read(&names::SECTIONS, |cache, observe| {
            // Both in the contract's order.
            for (name, section) in SECTION_NAMES.iter().zip(cache.counters.sections()) {
                observe(&[name, "read"], number(section.read));
                observe(&[name, "reused"], number(section.reused));
            }
        });

        read(&names::CACHE_ENTRIES, |cache, observe| {
            observe(&[Tier::Memory.name()], number(cache.tiers.memory.entries()))
        });
        read(&names::CACHE_BYTES, |cache, observe| observe(&[Tier::Memory.name()], number(cache.tiers.memory.bytes())));
        read(&names::CACHE_EVICTIONS, |cache, observe| {
            observe(&[Tier::Memory.name()], number(cache.tiers.memory.evictions()))
        });
        read(&names::CACHE_WRITES, Self::observe_writes);
        read(&names::CIRCUIT_STATE, Self::observe_circuits);

        read(&names::SOURCE_IN_FLIGHT, |cache, observe| {
            for (source, in_flight, _) in cache.aggregator.levels() {
                observe(&[source], f64::from(in_flight));
            }
        });
        observe_ai(read);
        read(&names::LOAD_ACTIVE, |cache, observe| observe(&[], number(cache.loads.under_way())));
        read(&names::LOAD_WAITERS, |cache, observe| observe(&[], number(cache.loads.waiting())));
        observe_jobs(read);
        observe_keys(read);
        observe_log(read);
    }

    fn observe_writes(&self, observe: Observe<'_>) {
        let tiers = &self.tiers;
        let redis = tiers.redis.as_ref().map(|redis| (Tier::Redis, &redis.guard.metrics));
        let others = [(Tier::Memory, &tiers.memory_metrics), (Tier::Database, &tiers.database.guard.metrics)];
        for (tier, metrics) in others.into_iter().chain(redis) {
            for (outcome, name) in WriteOutcome::NAMED {
                observe(&[tier.name(), name], number(metrics.written(outcome)));
            }
        }
    }

    fn observe_circuits(&self, observe: Observe<'_>) {
        if let Some(redis) = &self.tiers.redis {
            observe(&[Tier::Redis.name()], level(redis.guard.breaker.state()));
            observe(&["redis_writes"], level(redis.writes_state()));
            observe(&["redis_nodes"], level(redis.nodes_state()));
        }
        observe(&[Tier::Database.name()], level(self.tiers.database.guard.breaker.state()));
        if let Some(keys) = &self.tiers.encryption {
            observe(&["keys"], level(keys.state()));
        }
        for (source, _, state) in self.aggregator.levels() {
            observe(&[source], level(state));
        }
    }
}

type ReadMetric = fn(&UserDataCache, Observe<'_>);

fn observe_ai(read: impl Fn(&'static Instrument, ReadMetric)) {
    read(&names::AI_CALLS, |cache, observe| {
        let ai = cache.aggregator.ai().metrics();
        observe(&["ok"], number(ai.answered));
        observe(&["invalid"], number(ai.unusable));
        observe(&["error"], number(ai.failed));
    });
    read(&names::AI_TOKENS, |cache, observe| {
        let ai = cache.aggregator.ai().metrics();
        observe(&["input"], number(ai.prompt_tokens));
        observe(&["output"], number(ai.completion_tokens));
    });
    read(&names::AI_AVOIDED, |cache, observe| {
        let ai = cache.aggregator.ai().metrics();
        observe(&["ok"], number(ai.avoided));
        observe(&["invalid"], number(ai.paused));
    });
}

/// All zero without keys.
fn observe_keys(read: impl Fn(&'static Instrument, ReadMetric)) {
    read(&names::USER_KEYS, |cache, observe| {
        let counts = cache.user_keys.as_ref().map(|keys| keys.counts()).unwrap_or_default();
        let KeyCounts { read, made, deleted, failed, unreadable } = counts;
        for (outcome, count) in
            [("read", read), ("made", made), ("deleted", deleted), ("failed", failed), ("unreadable", unreadable)]
        {
            observe(&[outcome], number(count));
        }
    });
    read(&names::USER_KEYS_HELD, |cache, observe| {
        observe(&[], number(cache.user_keys.as_ref().map_or(0, |keys| keys.held())));
    });
}

fn observe_jobs(read: impl Fn(&'static Instrument, ReadMetric)) {
    read(&names::PREFETCHES, |cache, observe| {
        let of = cache.counters.prefetch.stats();
        for (outcome, count) in [
            ("started", of.started),
            ("finished", of.finished),
            ("read", of.read),
            ("unread", of.skipped_unread),
            ("unlikely", of.skipped_unlikely),
            ("busy", of.skipped_busy),
            ("over_budget", of.skipped_budget),
            ("failed", of.skipped_failed),
        ] {
            observe(&[outcome], number(count));
        }
    });
    read(&names::CHANGES_RELAYED, |cache, observe| {
        if cache.outbox.is_some() {
            observe(&[], number(cache.counters.changes.changes.get()));
        }
    });
    read(&names::CHANGES_LAG, |cache, observe| {
        if cache.outbox.is_some() {
            observe(&[], cache.counters.changes.lag().as_secs_f64());
        }
    });
    observe_feed(&read);
    observe_files(&read);
    read(&names::STALENESS_CHECKS, |cache, observe| {
        let of = cache.counters.staleness.stats();
        for (outcome, count) in [
            ("compared", of.compared),
            ("skipped", of.skipped),
            ("change_pending", of.change_pending),
            ("undecided", of.undecided),
        ] {
            observe(&[outcome], number(count));
        }
    });
    read(&names::STALENESS_FOUND, |cache, observe| observe(&[], number(cache.counters.staleness.stale.get())));
}

/// Nothing without a change feed, and no age while changes are not watched.
fn observe_feed(read: &impl Fn(&'static Instrument, ReadMetric)) {
    read(&names::FEED_VERIFIED_AGE, |cache, observe| {
        if let Some(age) = cache.feed.as_ref().and_then(|feed| feed.verified_age()) {
            observe(&[], age.as_secs_f64());
        }
    });
    read(&names::FEED_BACKLOG, |cache, observe| {
        if cache.feed.is_some() {
            observe(&[], number(cache.counters.changes.backlog.get()));
        }
    });
    read(&names::FEED_ROUNDS, |cache, observe| {
        if cache.feed.is_some() {
            observe(&[], number(cache.counters.changes.rounds.get()));
        }
    });
    read(&names::FEED_UNWATCHED, |cache, observe| {
        if let Some(feed) = &cache.feed {
            observe(&[], number(count(feed.unwatched().iter().count() as u64)));
        }
    });
}

fn observe_files(read: &impl Fn(&'static Instrument, ReadMetric)) {
    read(&names::USER_FILES_WATCHED, |cache, observe| observe(&[], number(file_levels(cache).users)));
    read(&names::USER_FILES_COPIES, |cache, observe| observe(&[], number(file_levels(cache).copies)));
    read(&names::USER_FILES_COPIES_SIZE, |cache, observe| observe(&[], number(file_levels(cache).bytes)));
    read(&names::USER_FILES_CHANGES, |cache, observe| observe(&[], number(file_levels(cache).changes)));
    read(&names::USER_FILES_FAILURES, |cache, observe| observe(&[], number(file_levels(cache).failures)));
}

/// All zero with one database for all users.
fn file_levels(cache: &UserDataCache) -> FileLevels {
    cache.files.as_ref().map(|files| files.levels()).unwrap_or_default()
}

fn observe_log(read: impl Fn(&'static Instrument, ReadMetric)) {
    read(&names::LOG_APPLIED, |cache, observe| observe(&[], number(cache.log.position().position)));
    read(&names::LOG_LAG, |cache, observe| {
        observe(&[], cache.log.lag().as_secs_f64());
    });
    read(&names::LOG_LEASE_REMAINING, |cache, observe| {
        observe(&[], cache.log.lease_remaining().as_secs_f64());
    });
    read(&names::LOG_COMMITS, |cache, observe| observe(&[], number(cache.log.stats().commits)));
    read(&names::LOG_GAPS, |cache, observe| observe(&[], number(cache.log.stats().gaps)));
}

/// A circuit's state as a number: the worse, the higher.
fn level(state: &str) -> f64 {
    match state {
        "closed" => 0.0,
        "half_open" => 1.0,
        _ => 2.0,
    }
}

/// Counts stay far below 2^53, up to which a double is exact.
fn number(count: impl TryInto<i64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let number = count.try_into().unwrap_or(i64::MAX) as f64;
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SECTIONS;

    #[test]
    fn sections_have_their_own_names() {
        let names = SECTIONS.map(|section| section.as_str_name().trim_start_matches("SECTION_").to_lowercase());
        assert_eq!(names.as_slice(), SECTION_NAMES);
    }
}
