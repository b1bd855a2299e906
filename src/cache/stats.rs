//! The statistics of `GetCacheStats`, made from what the cache counts.

use super::{
    TierError, UserDataCache,
    counters::{Counters, count, share},
    unavailable,
};
use crate::{
    changes::Outbox,
    error::{Error, Unavailable},
    model::{CacheStatus, Parameters, Tier, UserDataQuery},
    proto::v1::{self as wire, AnswerStats, GetCacheStatsResponse},
};

/// Source runs of one load.
const SOURCES: i64 = 5;

impl UserDataCache {
    /// Counts of the table and of this instance; the server adds its version.
    pub async fn stats(&self, most_accessed: u32) -> Result<GetCacheStatsResponse, Error> {
        let database = &self.tiers.database;
        let rows = database.counts().await.map_err(database_down)?;
        let most_accessed = database.most_accessed(most_accessed.into()).await.map_err(database_down)?;
        let mut stats = self.instance_stats();
        for tier in stats.tiers.iter_mut().filter(|tier| tier.tier == Tier::Database.name()) {
            tier.entries = Some(rows.total);
        }
        if let (Some(outbox), Some(changes)) = (&self.outbox, &mut stats.changes)
            && changes.active
        {
            changes.backlog = self.backlog(outbox).await;
        }
        Ok(GetCacheStatsResponse {
            total_entries: Some(rows.total),
            expired_entries: Some(rows.expired),
            valid_entries: Some(rows.total - rows.expired),
            most_accessed,
            ..stats
        })
    }

    async fn backlog(&self, outbox: &Outbox) -> Option<i64> {
        let consumed = self.log.consumption().await.ok()?.consumed;
        let consumed = consumed.and_then(|text| serde_json::from_str(&text).ok());
        outbox.backlog(consumed.as_ref()).await.ok()
    }

    /// Counts of this instance; asks no dependency.
    #[must_use]
    pub fn instance_stats(&self) -> GetCacheStatsResponse {
        let Counters { started_at, changes, prefetch, staleness, .. } = &*self.counters;
        let answers = self.counters.answers();
        let [memory, redis, database, shared, assembled, refreshed, stale] = answers;
        let hits = memory + redis + database;
        let requests = hits + shared + stale + assembled + refreshed;
        let ai = self.aggregator.ai().metrics();
        let answer = |(status, answers): (wire::CacheStatus, i64)| AnswerStats { status: status.into(), answers };
        GetCacheStatsResponse {
            tiers: self.tiers.stats(),
            sources: self.aggregator.stats(),
            requests,
            hit_rate: share(hits, requests),
            shared_answers: shared,
            stale_answers: stale,
            runs_avoided: SOURCES * (hits + shared + stale),
            ai_calls_made: count(ai.calls),
            ai_calls_avoided: count(ai.avoided),
            ai_calls_shared: count(ai.shared),
            ai_prompt_tokens: count(ai.prompt_tokens),
            ai_completion_tokens: count(ai.completion_tokens),
            sections: self.counters.sections(),
            invalidation_log: Some(self.log.stats()),
            uptime: Some(self.clock.now().since(*started_at).into()),
            superseded: self.tiers.superseded.get(),
            unverified_answers: self.counters.unverified.get(),
            changes: self.feed.as_ref().map(|feed| changes.stats(feed)),
            prefetch: self.config.prefetch.enabled.then(|| prefetch.stats()),
            staleness_check: self.outbox.as_ref().map(|_| staleness.stats()),
            loads_active: self.loads.active().try_into().unwrap_or(i32::MAX),
            answers: ANSWERS.into_iter().zip(answers).map(answer).collect(),
            ..GetCacheStatsResponse::default()
        }
    }

    /// Deletes expired rows: at most `limit`, or all in batches. Returns how many.
    pub async fn cleanup(&self, limit: Option<u64>) -> Result<u64, Error> {
        self.tiers.database.cleanup(limit).await.map_err(database_down)
    }

    /// The most accessed queries without parameters, for warming.
    pub async fn most_accessed(&self, count: u32) -> Result<Vec<UserDataQuery>, Error> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let queries = self.tiers.database.most_accessed_without_parameters(count).await.map_err(database_down)?;
        let query = |(user, strategy)| UserDataQuery::new(user, strategy, Parameters::none());
        Ok(queries.into_iter().map(query).collect())
    }
}

/// The contract's statuses, in the order of [`CacheStatus::NAMES`].
const ANSWERS: [wire::CacheStatus; CacheStatus::NAMES.len()] = [
    wire::CacheStatus::HitMemory,
    wire::CacheStatus::HitRedis,
    wire::CacheStatus::HitDatabase,
    wire::CacheStatus::Shared,
    wire::CacheStatus::Assembled,
    wire::CacheStatus::Refreshed,
    wire::CacheStatus::Stale,
];

fn database_down(error: TierError) -> Error {
    tracing::warn!(%error, "cache table not readable; the request fails");
    unavailable(Unavailable::DatabaseDown)
}
