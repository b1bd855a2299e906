//! What a flight does: look into Redis and the table, else assemble ([`once`]: one instance for all);
//! then fill the tiers.
//!
//! Order: the fence's position is noted before anything is read, so a tag is never too high. What is
//! stored is stored behind the answer, and only while no invalidation has outdated it.

mod once;
mod store;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::{RwLock, Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

use super::{
    database::DatabaseTier,
    fence::{Fence, Trust, View},
    figures::TierFigures,
    load_lease::{Failure, Outcome},
    memory::{Answer, Held, MemoryTier},
    redis::RedisTier,
    stats::Counts,
    tally::Tally,
    tier_error::TierError,
};
use crate::{
    aggregate::{AggregateError, Aggregator, Assembled, AssembledPart, Plan, SourceError},
    clock::Clock,
    config::Config,
    error::{Error, Missing},
    lease::{Lease, Leases},
    model::{CacheKey, CacheStatus, SectionSet, Snapshot, State, Tier, UserDataQuery, snapshot::Part},
};

/// What the cache is put together from.
#[derive(Debug)]
pub struct Parts {
    /// All settings.
    pub config: Config,
    /// The fence log.
    pub fence: Fence,
    /// Who loads what for the whole cluster.
    pub leases: Leases,
    /// The Redis tier, if one is configured.
    pub redis: Option<RedisTier>,
    /// The cache table.
    pub database: DatabaseTier,
    /// The sources.
    pub aggregator: Aggregator,
    /// The clocks.
    pub clock: Clock,
}

/// Writes behind answers that may be under way; beyond it they are left out, which costs a reload at worst.
const WRITES_MAX: usize = 256;

/// How deep a load goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Redis and the table first.
    Tiers,
    /// The sources, whatever the tiers hold.
    Sources,
    /// The sources, and no memo either.
    Anew,
}

/// A load's result.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    pub(super) status: CacheStatus,
    /// Every fence up to here is honoured by the snapshot.
    pub(super) position: i64,
}

/// Everything that a load needs.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) config: Config,
    pub(super) fence: Fence,
    pub(super) leases: Leases,
    pub(super) memory: MemoryTier,
    pub(super) memory_figures: TierFigures,
    pub(super) redis: Option<RedisTier>,
    pub(super) database: DatabaseTier,
    pub(super) aggregator: Aggregator,
    pub(super) tally: Tally,
    pub(super) counts: Counts,
    pub(super) clock: Clock,
    /// Loads that read the sources.
    permits: Semaphore,
    /// Those and the ones that wait for their turn.
    places: Semaphore,
    writes: Arc<Semaphore>,
    /// Held for reading while a snapshot is checked and stored, for writing while a purge erases: so
    /// that no copy outlives a purge because it was stored a moment late.
    storing: RwLock<()>,
    tasks: TaskTracker,
}

/// The best that the tiers have.
#[derive(Default)]
struct Found {
    fresh: Option<(Snapshot, Tier)>,
    /// Expired, but not outdated: the answer if the sources fail.
    last_good: Option<(Snapshot, Tier)>,
    /// What is left of a request's time for the cache's database; none if it could not be asked at all.
    database_left: Duration,
}

impl Loader {
    pub(super) fn new(parts: Parts, tasks: TaskTracker) -> Self {
        let Parts { config, fence, leases, redis, database, aggregator, clock } = parts;
        Self {
            memory: MemoryTier::new(&config.memory),
            memory_figures: TierFigures::default(),
            tally: Tally::new(config.database.tally_keys_max, clock.clone()),
            counts: Counts::new(clock.now()),
            permits: Semaphore::new(config.flight.max_concurrent),
            places: Semaphore::new(config.flight.max_concurrent + config.flight.max_queued),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            storing: RwLock::new(()),
            config,
            fence,
            leases,
            redis,
            database,
            aggregator,
            clock,
            tasks,
        }
    }

    /// Loads a document. `view` was taken before: its position becomes the tag of what is read here.
    pub(super) async fn load(self: Arc<Self>, query: UserDataQuery, view: View, depth: Depth) -> Result<Loaded, Error> {
        if depth == Depth::Tiers {
            return self.load_once(&query, &view).await;
        }
        let _permit = self.permit().await?;
        // Looked up again: nothing has been read yet, so fences that came meanwhile are honoured too.
        let view = self.fence.view(query.key());
        // On the heap: the sources' statements make it large.
        Box::pin(self.load_from_the_sources(&query, &view, depth, None, None)).await
    }

    /// A place in the queue, then a permit to read the sources.
    async fn permit(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), Error> {
        let overloaded = || Error::Overloaded { retry_after: Duration::from_secs(1) };
        let place = self.places.try_acquire().map_err(|_| overloaded())?;
        let permit = tokio::time::timeout(self.config.flight.budget, self.permits.acquire()).await;
        Ok((place, permit.map_err(|_| overloaded())?.map_err(|_| overloaded())?))
    }

    /// A snapshot that a tier had: fills the tiers above it.
    fn found(
        self: &Arc<Self>,
        (snapshot, tier): (Snapshot, Tier),
        status: fn(Tier) -> CacheStatus,
        view: &View,
    ) -> Loaded {
        self.keep(&snapshot);
        if tier == Tier::Database {
            self.store_behind(snapshot.clone(), Some(Tier::Redis), None);
        }
        Loaded { snapshot, status: status(tier), position: view.applied }
    }

    async fn look_into_tiers(&self, key: &CacheKey) -> Found {
        let mut found = Found::default();
        if self.fence.trust() == Trust::None {
            return found;
        }
        if let Some(redis) = &self.redis {
            self.judge(&mut found, Tier::Redis, redis.get(key).await, key).await;
        }
        let began = self.clock.now();
        if found.fresh.is_none() {
            self.judge(&mut found, Tier::Database, self.database.get(key).await, key).await;
        }
        if found.fresh.is_none() {
            self.look_at_what_memory_held(&mut found, key);
        }
        found.database_left = self.config.database.timeout.saturating_sub(self.clock.now().since(began));
        found
    }

    /// A copy whose time in memory is up is not served as fresh, but it is there when the database is not.
    fn look_at_what_memory_held(&self, found: &mut Found, key: &CacheKey) {
        let Some(Held { answer: Answer::Snapshot(snapshot), .. }) = self.memory.get(key) else { return };
        if self.fence.view(key).admits(&snapshot, SectionSet::ALL) {
            self.keep_in_reserve(found, snapshot, Tier::Memory);
        }
    }

    async fn judge(&self, found: &mut Found, tier: Tier, read: Result<Option<Snapshot>, TierError>, key: &CacheKey) {
        // A tier that fails is a miss; it has counted and logged its failure itself.
        let Ok(Some(snapshot)) = read else { return };
        let figures = match (&self.redis, tier) {
            (Some(redis), Tier::Redis) => redis.figures(),
            _ => self.database.figures(),
        };
        let mut view = self.fence.view(key);
        if snapshot.incarnation == view.incarnation && !view.can_judge(&snapshot) && self.fence.catch_up().await.is_ok()
        {
            view = self.fence.view(key);
        }
        if !view.admits(&snapshot, SectionSet::ALL) {
            self.counts.superseded.add(1);
            figures.refused();
            return;
        }
        if snapshot.expires_at > self.clock.utc() {
            found.fresh = Some((snapshot, tier));
            return;
        }
        figures.refused();
        self.keep_in_reserve(found, snapshot, tier);
    }

    /// Remembers the newest document that may be served if the sources fail; before a partial one, a complete one.
    fn keep_in_reserve(&self, found: &mut Found, snapshot: Snapshot, tier: Tier) {
        let worth = |snapshot: &Snapshot| (snapshot.complete(), snapshot.as_of);
        if is_younger(&snapshot, self.config.database.stale_max, self.clock.utc())
            && found.last_good.as_ref().is_none_or(|(held, _)| worth(held) < worth(&snapshot))
        {
            found.last_good = Some((snapshot, tier));
        }
    }

    /// Loads from the sources: for everybody who waits for `lease`, which is given back when the
    /// document is stored or it is known why there is none.
    async fn load_from_the_sources(
        self: &Arc<Self>,
        query: &UserDataQuery,
        view: &View,
        depth: Depth,
        last_good: Option<(Snapshot, Tier)>,
        lease: Option<Lease>,
    ) -> Result<Loaded, Error> {
        let snapshot = match self.assemble(query, view, depth, last_good.as_ref().map(|(snapshot, _)| snapshot)).await {
            Ok(snapshot) => snapshot,
            Err(failure) => {
                Outcome::Failed(failure.clone()).tell(lease, view);
                return self.conclude(query.key(), view, view.applied, last_good, failure);
            }
        };
        // A document that no reply can carry would only push others out of the tiers; those who ask for fewer
        // sections of it get them from here.
        if snapshot.payload.len() > self.config.server.max_response_bytes {
            Outcome::TooLarge.tell(lease, view);
        } else if view.can_judge(&snapshot) && !view.incarnation.is_empty() {
            self.keep(&snapshot);
            self.store_behind(snapshot.clone(), None, lease);
        }
        let status = if depth == Depth::Anew { CacheStatus::Refreshed } else { CacheStatus::Assembled };
        Ok(Loaded { snapshot, status, position: view.applied })
    }

    async fn assemble(
        &self,
        query: &UserDataQuery,
        view: &View,
        depth: Depth,
        last_good: Option<&Snapshot>,
    ) -> Result<Snapshot, Failure> {
        let as_of = self.clock.utc();
        let budget = self.config.flight.budget;
        let plan = Plan { sections: SectionSet::ALL, as_of, refresh: depth == Depth::Anew, budget };
        let assembled = match tokio::time::timeout(budget, Box::pin(self.aggregator.aggregate(query, &plan))).await {
            Ok(Ok(assembled)) => assembled,
            Ok(Err(AggregateError::UnknownUser)) => return Err(Failure::NotFound(Missing::User)),
            Ok(Err(AggregateError::UnknownStrategy)) => return Err(Failure::NotFound(Missing::Strategy)),
            Ok(Err(AggregateError::Source { name, error })) => return Err(source_failed(name, error)),
            Err(_) => return Err(source_failed("onboarding", SourceError::Timeout)),
        };
        Ok(self.seal(query.key(), view, as_of, assembled, last_good))
    }

    /// What a load without a document means for those who asked, whether it ran here or elsewhere, with `tag`.
    fn conclude(
        &self,
        key: &CacheKey,
        view: &View,
        tag: i64,
        last_good: Option<(Snapshot, Tier)>,
        failure: Failure,
    ) -> Result<Loaded, Error> {
        match &failure {
            Failure::NotFound(what) => self.remember_missing(key, view, tag, *what),
            Failure::SourceFailed { cause, .. } => {
                let fallback = last_good.is_some();
                if let Some(error) = cause {
                    let error: &dyn std::error::Error = error;
                    tracing::warn!(error, data_hash = %key.hash, fallback, "a required source failed");
                }
                // Judged again: a fence may have come while the sources were tried.
                let now = self.fence.view(key);
                if let Some((snapshot, tier)) = last_good.filter(|(snapshot, _)| now.admits(snapshot, SectionSet::ALL))
                {
                    return Ok(Loaded { snapshot, status: CacheStatus::Stale(tier), position: view.applied });
                }
            }
        }
        Err(failure.into())
    }

    /// Joins the parts; what failed is taken from the last good document, as far as that is not outdated.
    fn seal(
        &self,
        key: &CacheKey,
        view: &View,
        as_of: DateTime<Utc>,
        assembled: Assembled,
        last_good: Option<&Snapshot>,
    ) -> Snapshot {
        let parts: Vec<Part> = assembled
            .parts
            .into_iter()
            .map(|AssembledPart { facts, bytes }| {
                let fresh = Part { facts, tag: view.applied, bytes };
                match fresh.facts.state {
                    State::Failed => stale_part(&fresh, view, last_good).unwrap_or(fresh),
                    _ => fresh,
                }
            })
            .collect();
        let partial = parts.iter().any(|part| matches!(part.facts.state, State::Failed | State::Stale));
        let life = if partial { self.config.flight.partial_ttl } else { self.jittered_ttl() };
        // Cut to what the tiers keep, or a hit in one would name another instant.
        let expires_at = (as_of + life).trunc_subsecs(6);
        Snapshot::seal(key.clone(), Arc::clone(&view.incarnation), as_of, expires_at, parts)
    }

    fn jittered_ttl(&self) -> Duration {
        let config = &self.config.database;
        config.ttl.mul_f64(1.0 + config.ttl_jitter * (2.0 * rand::random::<f64>() - 1.0))
    }

    /// Remembers for a short while, in memory only, that there is nothing.
    fn remember_missing(&self, key: &CacheKey, view: &View, tag: i64, what: Missing) {
        let answer = Answer::NotFound { what, incarnation: Arc::clone(&view.incarnation), tag };
        let until = self.clock.now().after(self.config.flight.not_found_ttl);
        self.memory.put(key.clone(), Held { answer, until });
    }
}

/// A failed section as it was in the last good document, if nothing has outdated it.
fn stale_part(failed: &Part, view: &View, last_good: Option<&Snapshot>) -> Option<Part> {
    let section = failed.facts.section;
    // Judged anew: since it was found, another incarnation may have begun, in which its tags mean nothing.
    let mut part = last_good.filter(|snapshot| view.can_judge(snapshot))?.part(section)?;
    let had_content = matches!(part.facts.state, State::Ok | State::Stale);
    if !had_content || !view.is_valid(section, part.tag) {
        return None;
    }
    part.facts.state = State::Stale;
    part.facts.reason.clone_from(&failed.facts.reason);
    Some(part)
}

fn source_failed(name: &'static str, error: SourceError) -> Failure {
    Failure::SourceFailed { source_name: name, cause: Some(Arc::new(AggregateError::Source { name, error })) }
}

fn is_younger(snapshot: &Snapshot, age: Duration, now: DateTime<Utc>) -> bool {
    (now - snapshot.as_of).to_std().unwrap_or_default() <= age
}
