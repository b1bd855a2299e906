//! What the cache counts about its answers, and the statistics made from that.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{UserDataCache, load::Loader, relay::Relay, tiers::error::TierError, unavailable};
use crate::{
    clock::Moment,
    error::{Error, Unavailable},
    model::{CacheStatus, Parameters, SECTIONS, Section, Tier, UserDataQuery, section::index},
    proto::v1::{self as wire, AnswerStats, GetCacheStatsResponse, SectionStats, TierStats},
};

/// Source runs that one assembly takes.
const SOURCES: i64 = 5;

/// A count.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed).try_into().unwrap_or(i64::MAX)
    }
}

/// What this instance has answered since it started.
#[derive(Debug)]
pub(super) struct CacheCounters {
    since: Moment,
    served: [Counter; CacheStatus::NAMES.len()],
    pub(super) unverified: Counter,
    pub(super) superseded: Counter,
    /// In the contract's order.
    sections: [SectionCounters; SECTIONS.len()],
}

/// What loads have done with one section.
#[derive(Debug, Default)]
struct SectionCounters {
    read: Counter,
    reused: Counter,
}

impl CacheCounters {
    pub(super) fn new(since: Moment) -> Self {
        Self {
            since,
            served: Default::default(),
            unverified: Counter::default(),
            superseded: Counter::default(),
            sections: Default::default(),
        }
    }

    /// A load has read these sections, or made them.
    pub(super) fn read(&self, sections: impl Iterator<Item = Section>) {
        sections.for_each(|section| self.sections[index(section)].read.add(1));
    }

    /// A load has kept these while it read others.
    pub(super) fn reused(&self, sections: impl Iterator<Item = Section>) {
        sections.for_each(|section| self.sections[index(section)].reused.add(1));
    }

    /// Each section, how often loads have read it and how often reused.
    pub(super) fn of_sections(&self) -> impl Iterator<Item = (Section, i64, i64)> {
        let counts = SECTIONS.into_iter().zip(&self.sections);
        counts.map(|(section, counts)| (section, counts.read.get(), counts.reused.get()))
    }

    fn sections(&self) -> Vec<SectionStats> {
        let stats =
            self.of_sections().map(|(section, read, reused)| SectionStats { section: section.into(), read, reused });
        stats.collect()
    }

    pub(super) fn served(&self, status: CacheStatus, verified: bool) {
        self.served[status.place()].add(1);
        if !verified {
            self.unverified.add(1);
        }
    }

    /// Answers of each status, in the order of their names.
    pub(super) fn answers(&self) -> [i64; CacheStatus::NAMES.len()] {
        self.served.each_ref().map(Counter::get)
    }
}

impl UserDataCache {
    /// The table's counts and this instance's figures; the server adds its version.
    pub async fn stats(&self, most_accessed: u32) -> Result<GetCacheStatsResponse, Error> {
        let database = &self.loader.database;
        let rows = database.counts().await.map_err(database_down)?;
        let most_accessed = database.most_accessed(most_accessed.into()).await.map_err(database_down)?;
        let mut stats = self.instance_stats();
        for tier in stats.tiers.iter_mut().filter(|tier| tier.tier == Tier::Database.name()) {
            tier.entries = Some(rows.total);
        }
        if let (Some(relay), Some(changes)) = (&self.relay, &mut stats.changes) {
            changes.backlog = relay.backlog().await;
        }
        Ok(GetCacheStatsResponse {
            total_entries: Some(rows.total),
            expired_entries: Some(rows.expired),
            valid_entries: Some(rows.total - rows.expired),
            most_accessed,
            ..stats
        })
    }

    /// This instance's figures, for which nobody is asked.
    #[must_use]
    pub fn instance_stats(&self) -> GetCacheStatsResponse {
        let loader = &self.loader;
        let counts = &loader.counts;
        let [memory, redis, database, shared, assembled, refreshed, stale] = counts.answers();
        let hits = memory + redis + database;
        let requests = hits + shared + stale + assembled + refreshed;
        let ai = loader.aggregator.ai().metrics();
        GetCacheStatsResponse {
            tiers: tiers(loader),
            sources: loader.aggregator.stats(),
            requests,
            hit_rate: share(hits, requests),
            shared_answers: shared,
            stale_answers: stale,
            runs_avoided: SOURCES * (hits + shared + stale),
            ai_calls_made: ai.calls.try_into().unwrap_or(i64::MAX),
            ai_calls_avoided: ai.avoided.try_into().unwrap_or(i64::MAX),
            ai_calls_shared: ai.shared.try_into().unwrap_or(i64::MAX),
            ai_prompt_tokens: ai.prompt_tokens.try_into().unwrap_or(i64::MAX),
            ai_completion_tokens: ai.completion_tokens.try_into().unwrap_or(i64::MAX),
            sections: counts.sections(),
            invalidation_log: Some(loader.invalidation_log.stats()),
            uptime: Some(loader.clock.now().since(counts.since).into()),
            superseded: counts.superseded.get(),
            unverified_answers: counts.unverified.get(),
            changes: self.relay.as_ref().map(Relay::stats),
            prefetch: self.ahead.stats(),
            staleness_check: self.relay.as_ref().map(|_| self.inspector.stats()),
            loads_active: self.single_flight.active().try_into().unwrap_or(i32::MAX),
            answers: ANSWERS.into_iter().zip(counts.answers()).map(answers).collect(),
            ..GetCacheStatsResponse::default()
        }
    }

    /// Deletes expired rows: at most `limit`, or all in batches. Returns how many.
    pub async fn cleanup(&self, limit: Option<u64>) -> Result<u64, Error> {
        self.loader.database.cleanup(limit).await.map_err(database_down)
    }

    /// The most accessed questions without parameters, for warming.
    pub async fn most_accessed(&self, count: u32) -> Result<Vec<UserDataQuery>, Error> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let questions = self.loader.database.most_accessed_without_parameters(count).await.map_err(database_down)?;
        let query = |(user, strategy)| UserDataQuery::new(user, strategy, Parameters::none());
        Ok(questions.into_iter().map(query).collect())
    }
}

/// The contract's statuses, in the order of the counts.
const ANSWERS: [wire::CacheStatus; CacheStatus::NAMES.len()] = [
    wire::CacheStatus::HitMemory,
    wire::CacheStatus::HitRedis,
    wire::CacheStatus::HitDatabase,
    wire::CacheStatus::Shared,
    wire::CacheStatus::Assembled,
    wire::CacheStatus::Refreshed,
    wire::CacheStatus::Stale,
];

fn answers((status, answers): (wire::CacheStatus, i64)) -> AnswerStats {
    AnswerStats { status: status.into(), answers }
}

fn tiers(loader: &Loader) -> Vec<TierStats> {
    let memory = TierStats {
        enabled: true,
        entries: Some(loader.memory.entries().try_into().unwrap_or(i64::MAX)),
        bytes: Some(loader.memory.bytes().try_into().unwrap_or(i64::MAX)),
        breaker_state: "closed".to_owned(),
        evictions: Some(loader.memory.evictions().try_into().unwrap_or(i64::MAX)),
        ..loader.memory_figures.snapshot(Tier::Memory)
    };
    let redis = match &loader.redis {
        Some(redis) => redis.stats(),
        None => TierStats { tier: Tier::Redis.name().to_owned(), ..TierStats::default() },
    };
    vec![memory, redis, loader.database.stats()]
}

#[expect(clippy::cast_precision_loss, reason = "a share for people; counts stay far below 2^53")]
fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn database_down(error: TierError) -> Error {
    tracing::warn!(%error, "the cache table could not be read");
    unavailable(Unavailable::DatabaseDown)
}
