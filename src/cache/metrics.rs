//! What the cache tells when its metrics are asked for: counts and levels that it keeps anyway.
//!
//! The callbacks live as long as the provider, so they hold the cache weakly: a shutdown waits for its end.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{UserDataCache, load::Loader, tiers::tier_metrics::WriteOutcome};
use crate::{
    model::{CacheStatus, Tier},
    telemetry::{Meter, Observe, names},
};

const SECTION_NAMES: &[&str] = names::SECTIONS.attributes[0].values;

impl UserDataCache {
    /// Has the cache asked for its numbers.
    pub fn observe(self: &Arc<Self>, meter: &Meter) {
        let read = |of, tell: fn(&Self, Observe<'_>)| {
            let cache: Weak<Self> = Arc::downgrade(self);
            meter.observe(of, move |observe| {
                if let Some(cache) = cache.upgrade() {
                    tell(&cache, observe);
                }
            });
        };
        read(&names::SERVED, |cache, observe| {
            for (name, answers) in CacheStatus::NAMES.iter().zip(cache.loader.counts.answers()) {
                observe(&[name], number(answers));
            }
        });
        read(&names::SUPERSEDED, |cache, observe| observe(&[], number(cache.loader.counts.superseded.get())));
        read(&names::UNVERIFIED, |cache, observe| observe(&[], number(cache.loader.counts.unverified.get())));

        read(&names::CACHE_ENTRIES, |cache, observe| {
            observe(&[Tier::Memory.name()], number(cache.loader.memory.entries()));
        });
        read(&names::CACHE_BYTES, |cache, observe| {
            observe(&[Tier::Memory.name()], number(cache.loader.memory.bytes()));
        });
        read(&names::CACHE_EVICTIONS, |cache, observe| {
            observe(&[Tier::Memory.name()], number(cache.loader.memory.evictions()));
        });
        read(&names::CACHE_WRITES, |cache, observe| tell_writes(&cache.loader, observe));

        read(&names::SOURCE_IN_FLIGHT, |cache, observe| {
            for (source, in_flight, _) in cache.loader.aggregator.levels() {
                observe(&[source], f64::from(in_flight));
            }
        });
        read(&names::AI_CALLS, |cache, observe| {
            let ai = cache.loader.aggregator.ai().metrics();
            observe(&["ok"], number(ai.answered));
            observe(&["error"], number(ai.failed));
        });
        read(&names::AI_TOKENS, |cache, observe| {
            let ai = cache.loader.aggregator.ai().metrics();
            observe(&["input"], number(ai.prompt_tokens));
            observe(&["output"], number(ai.completion_tokens));
        });
        read(&names::AI_AVOIDED, |cache, observe| {
            observe(&[], number(cache.loader.aggregator.ai().metrics().avoided));
        });

        read(&names::FLIGHT_ACTIVE, |cache, observe| observe(&[], number(cache.loader.loads.under_way())));
        read(&names::FLIGHT_WAITERS, |cache, observe| observe(&[], number(cache.single_flight.waiting())));

        read(&names::SECTIONS, |cache, observe| {
            // Both in the contract's order.
            for (name, (_, read, reused)) in SECTION_NAMES.iter().zip(cache.loader.counts.of_sections()) {
                observe(&[name, "read"], number(read));
                observe(&[name, "reused"], number(reused));
            }
        });
        read(&names::REASSEMBLIES, |cache, observe| {
            let of = cache.ahead.figures();
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
            if let Some(relay) = &cache.relay {
                observe(&[], number(relay.changes()));
            }
        });
        read(&names::CHANGES_LAG, |cache, observe| {
            if let Some(relay) = &cache.relay {
                observe(&[], relay.lag().as_secs_f64());
            }
        });
        read(&names::INSPECTED, |cache, observe| {
            let of = cache.inspector.stats();
            for (outcome, count) in [
                ("compared", of.compared),
                ("skipped", of.skipped),
                ("change_pending", of.change_pending),
                ("undecided", of.undecided),
            ] {
                observe(&[outcome], number(count));
            }
        });
        read(&names::INSPECTED_STALE, |cache, observe| observe(&[], number(cache.inspector.stats().stale)));

        read(&names::FENCE_APPLIED, |cache, observe| {
            observe(&[], number(cache.loader.invalidation_log.position().position))
        });
        read(&names::FENCE_LAG, |cache, observe| {
            if let Some(lag) = cache.loader.invalidation_log.lag() {
                observe(&[], lag.as_secs_f64());
            }
        });
        read(&names::FENCE_LEASE_REMAINING, |cache, observe| {
            let lag = cache.loader.invalidation_log.lag().unwrap_or(Duration::MAX);
            observe(&[], cache.loader.config.fence.lease.saturating_sub(lag).as_secs_f64());
        });
        read(&names::FENCE_COMMITS, |cache, observe| {
            observe(&[], number(cache.loader.invalidation_log.stats().commits))
        });
        read(&names::FENCE_GAPS, |cache, observe| observe(&[], number(cache.loader.invalidation_log.stats().gaps)));
        read(&names::BREAKER_STATE, |cache, observe| tell_breakers(&cache.loader, observe));
    }
}

fn tell_writes(loader: &Loader, observe: Observe<'_>) {
    let redis = loader.redis.as_ref().map(|redis| (Tier::Redis, redis.figures()));
    let others = [(Tier::Memory, &loader.memory_figures), (Tier::Database, loader.database.figures())];
    for (tier, figures) in others.into_iter().chain(redis) {
        for (how, name) in WriteOutcome::NAMED {
            observe(&[tier.name(), name], number(figures.written(how)));
        }
    }
}

fn tell_breakers(loader: &Loader, observe: Observe<'_>) {
    if let Some(redis) = &loader.redis {
        observe(&[Tier::Redis.name()], level(redis.breaker_state()));
    }
    observe(&[Tier::Database.name()], level(loader.database.breaker_state()));
    for (source, _, state) in loader.aggregator.levels() {
        observe(&[source], level(state));
    }
}

/// A breaker's state as a number: the worse, the higher.
fn level(state: &str) -> f64 {
    match state {
        "closed" => 0.0,
        "half_open" => 1.0,
        _ => 2.0,
    }
}

/// Counts stay far below 2^53, beyond which a double leaves some out.
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
