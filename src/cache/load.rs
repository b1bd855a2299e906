//! What a flight does, as far as it is let in ([`admission`]): look into Redis and the table ([`tiers`](super::tiers)), else assemble
//! ([`cluster_wide`]: one instance for all); then fill the tiers (behind the answer).
//!
//! Order: the fence's position is noted before anything is read, so a tag is never too high. What is
//! stored is stored behind the answer, and only while no invalidation has outdated it.

mod admission;
pub(super) mod backoff;
mod cluster_wide;
mod lease;
mod metrics;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use futures::future::BoxFuture;
use opentelemetry::trace::SpanContext;
use tokio::sync::{RwLock, Semaphore};
use tokio_util::sync::CancellationToken;

use tracing::{Instrument as _, field::Empty, info_span};

use super::{
    invalidation_log::{InvalidationLog, LogView},
    relay::Relay,
    stats::CacheCounters,
    tiers::{
        access_counts::AccessCounts,
        database::DatabaseTier,
        fallback::{Base, Fallback},
        lookup::TierHit,
        memory::{MemoryEntry, MemoryTier, MemoryValue},
        redis::RedisTier,
        tier_metrics::TierMetrics,
    },
};
use crate::{
    aggregate::{
        AggregateError, Aggregator, Assembled, AssembledPart, Plan, SourceError,
        ai_analysis::{Budget, Late},
    },
    clock::Clock,
    config::Config,
    error::{Error, Missing},
    fault::Faults,
    lease::{Lease, Leases},
    model::{CacheKey, CacheStatus, Snapshot, State, Tier, UserDataQuery, snapshot::Part},
    mutant::{self, Mutant},
    sync::TaskTracker,
    telemetry::{Meter, trace},
};
use admission::Admission;
use backoff::FailureBackoff;
use lease::{LoadFailure, NoDocument};
use metrics::Loads;

/// What the cache is put together from.
#[derive(Debug)]
pub struct CacheParts {
    /// All settings.
    pub config: Config,
    /// The invalidation log.
    pub invalidation_log: InvalidationLog,
    /// Who loads what for the whole cluster.
    pub leases: Arc<Leases>,
    /// The Redis tier, if one is configured.
    pub redis: Option<RedisTier>,
    /// The cache table.
    pub database: DatabaseTier,
    /// The sources.
    pub aggregator: Aggregator,
    /// The sources' changes, if they are to be looked for.
    pub relay: Option<Relay>,
    /// The clocks.
    pub clock: Clock,
    /// Told when the service shuts down.
    pub stop: CancellationToken,
    /// What look-ups, loads and runs of sources are recorded by.
    pub meter: Meter,
}

/// Writes behind answers that may be under way; beyond it they are left out, which costs a reload at worst.
const WRITES_MAX: usize = 256;

/// How deep a load goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadMode {
    /// Redis and the table first.
    ReadThrough,
    /// The same, behind an answer: content only with a document assembled later than this one.
    Revalidate(DateTime<Utc>),
    /// The same as [`LoadMode::ReadThrough`], for nobody: AI calls within the budget only.
    Prefetch,
    /// The sources, whatever the tiers hold.
    BypassCache,
    /// The sources, and no memo either.
    Refresh,
}

/// A load's result.
#[derive(Clone, Debug)]
pub(super) struct LoadedSnapshot {
    pub(super) snapshot: Snapshot,
    pub(super) status: CacheStatus,
    /// Every fence up to here is honoured by the snapshot.
    pub(super) position: i64,
}

/// How a load ended, and its span, for those who waited for it.
#[derive(Clone, Debug)]
pub(super) struct LoadOutcome {
    pub(super) result: Result<LoadedSnapshot, Error>,
    pub(super) load: SpanContext,
}

/// A load, on the heap: the sources' statements make it large.
pub(super) type Loading = BoxFuture<'static, LoadOutcome>;

/// Everything that a load needs.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) config: Config,
    pub(super) invalidation_log: InvalidationLog,
    pub(super) leases: Arc<Leases>,
    pub(super) memory: MemoryTier,
    pub(super) memory_figures: TierMetrics,
    pub(super) redis: Option<RedisTier>,
    pub(super) database: DatabaseTier,
    pub(super) aggregator: Aggregator,
    pub(super) access_counts: AccessCounts,
    pub(super) counts: CacheCounters,
    pub(super) loads: Loads,
    pub(super) clock: Clock,
    admission: Admission,
    pub(super) writes: Arc<Semaphore>,
    /// Held for reading while a snapshot is checked and stored, for writing while a purge erases: so
    /// that no copy outlives a purge because it was stored a moment late.
    pub(super) storing: RwLock<()>,
    pub(super) backoff: FailureBackoff,
    /// AI calls for documents that nobody waits for.
    budget: Arc<Budget>,
    pub(super) tasks: TaskTracker,
    stop: CancellationToken,
    pub(super) faults: Faults,
}

impl Loader {
    pub(super) fn new(parts: CacheParts, tasks: TaskTracker) -> Self {
        let CacheParts { config, invalidation_log, leases, redis, database, aggregator, relay: _, clock, stop, meter } =
            parts;
        Self {
            memory: MemoryTier::new(&config.memory),
            memory_figures: TierMetrics::measured(Tier::Memory, &meter),
            access_counts: AccessCounts::new(config.database.tally_keys_max, clock.clone()),
            counts: CacheCounters::new(clock.now()),
            admission: Admission::new(&config.flight, &clock),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            storing: RwLock::new(()),
            backoff: FailureBackoff::new(clock.clone()),
            budget: Arc::new(Budget::new(&config.reassembly, clock.clone())),
            config,
            invalidation_log,
            leases,
            redis: redis.map(|redis| redis.measured(&meter)),
            database: database.measured(&meter),
            aggregator: aggregator.with_metrics(&meter),
            loads: Loads::measured(&meter),
            clock,
            tasks,
            stop,
            faults: Faults::here(),
        }
    }

    /// Loads a document. Does nothing before it is polled.
    pub(super) fn load(self: Arc<Self>, query: UserDataQuery, depth: LoadMode) -> Loading {
        let data_hash = tracing::field::display(query.key().hash);
        let span = trace::outliving(info_span!(parent: None, "load", data_hash, outcome = Empty, trace_id = Empty));
        let load = trace::span_context(&span);
        let work = async move {
            let under_way = self.loads.begin(&self.clock);
            let loaded = match depth {
                LoadMode::ReadThrough | LoadMode::Revalidate(_) | LoadMode::Prefetch => {
                    self.load_once(&query, depth).await
                }
                LoadMode::BypassCache | LoadMode::Refresh => self.load_past_the_tiers(&query, depth).await,
            };
            under_way.end(&loaded);
            LoadOutcome { result: loaded, load }
        };
        Box::pin(work.instrument(span))
    }

    async fn load_past_the_tiers(
        self: &Arc<Self>,
        query: &UserDataQuery,
        depth: LoadMode,
    ) -> Result<LoadedSnapshot, Error> {
        let view = self.invalidation_log.view(query.key());
        // A refresh is somebody's wish to try now.
        if depth != LoadMode::Refresh
            && let Some(cooling) = self.backoff.of(query.key(), &view)
        {
            return self.conclude(query.key(), &view, cooling.read_position, &Fallback::default(), cooling.into());
        }
        let _permit = self.admission.permit().await?;
        // Only now: nothing has been read yet, so fences that came while it waited are honoured too.
        let view = self.invalidation_log.view(query.key());
        self.load_from_the_sources(query, &view, depth, &Fallback::default(), None).await
    }

    /// Whether a document that has just been served is to be assembled anew behind its answer.
    pub(super) fn is_due(&self, snapshot: &Snapshot) -> bool {
        let now = self.clock.utc();
        let due = snapshot.refresh_at(self.config.database.refresh_after);
        due <= now && now < snapshot.expires_at && self.has_room()
    }

    /// Whether something may be loaded that nobody waits for.
    pub(super) fn has_room(&self) -> bool {
        self.admission.has_room()
    }

    /// A snapshot that a tier had: fills the tiers above it.
    fn found(self: &Arc<Self>, fresh: TierHit, depth: LoadMode, status: fn(Tier) -> CacheStatus) -> LoadedSnapshot {
        let TierHit { snapshot, tier, position } = fresh;
        self.keep(&snapshot, depth);
        if tier == Tier::Database {
            self.store_behind(snapshot.clone(), Some(Tier::Redis), None);
        }
        LoadedSnapshot { snapshot, status: status(tier), position }
    }

    /// Loads from the sources: for everybody who waits for `lease`, which is given back when the
    /// document is stored or it is known why there is none.
    async fn load_from_the_sources(
        self: &Arc<Self>,
        query: &UserDataQuery,
        view: &LogView,
        depth: LoadMode,
        reserve: &Fallback,
        lease: Option<Lease>,
    ) -> Result<LoadedSnapshot, Error> {
        let key = query.key();
        let assembling = self.assemble(query, view, depth, reserve).instrument(info_span!("assemble"));
        let (snapshot, late) = match assembling.await {
            Ok(assembled) => assembled,
            Err(failure) => {
                if let LoadFailure::SourceFailed { source_name, retry_after, .. } = &failure {
                    self.backoff.begin(key, view, source_name, *retry_after);
                }
                NoDocument::Failed(failure.clone()).tell(lease, view);
                return self.conclude(key, view, view.applied, reserve, failure);
            }
        };
        // A document that no reply can carry would only push others out of the tiers; those who ask for fewer
        // sections of it get them from here.
        if snapshot.payload.len() > self.config.server.max_response_bytes {
            NoDocument::TooLarge.tell(lease, view);
        } else if (view.can_judge(&snapshot) || mutant::on(Mutant::ReadPositionTakenAtTheEnd)) && !view.epoch.is_empty()
        {
            self.keep(&snapshot, depth);
            self.store_behind(snapshot.clone(), None, lease);
        }
        if let Some(late) = late {
            self.complete_when(late, query.clone(), snapshot.as_of);
        }
        let status = if depth == LoadMode::Refresh { CacheStatus::Refreshed } else { CacheStatus::Assembled };
        Ok(LoadedSnapshot { snapshot, status, position: view.applied })
    }

    /// Assembles a document anew when the AI's answer has come for which it could not wait.
    fn complete_when(self: &Arc<Self>, late: Late, query: UserDataQuery, as_of: DateTime<Utc>) {
        let loader = Arc::clone(self);
        self.tasks.spawn(async move {
            // A shutdown does not wait for it: whoever starts next finds the answer.
            if loader.stop.run_until_cancelled(late.is_cached()).await == Some(true) {
                // If it fails, the document without the answer expires soon enough.
                let _ = loader.load(query, LoadMode::Revalidate(as_of)).await;
            }
        });
    }

    /// Reads what is not of use in the reserve, and joins it with what is.
    async fn assemble(
        &self,
        query: &UserDataQuery,
        view: &LogView,
        depth: LoadMode,
        reserve: &Fallback,
    ) -> Result<(Snapshot, Option<Late>), LoadFailure> {
        let as_of = self.clock.utc();
        let mut base = reserve.base(view, &self.config.database, as_of).unwrap_or_default();
        let mut assembled = self.aggregate(query, &base, as_of, depth).await?;
        if !base.parts.is_empty() && base.strategy != Some(assembled.strategy) {
            base = base.without_strategy();
            assembled = self.aggregate(query, &base, as_of, depth).await?;
        }
        self.counts.read(assembled.parts.iter().map(|part| part.facts.section));
        self.counts.reused(base.parts.iter().map(|part| part.facts.section));
        let late = assembled.late.take();
        let at_the_end = mutant::on(Mutant::ReadPositionTakenAtTheEnd).then(|| self.invalidation_log.view(query.key()));
        let view = at_the_end.as_ref().unwrap_or(view);
        Ok((self.seal(query.key(), view, as_of, base.parts, assembled, reserve), late))
    }

    /// The sections that are missing in `base`.
    async fn aggregate(
        &self,
        query: &UserDataQuery,
        base: &Base,
        as_of: DateTime<Utc>,
        depth: LoadMode,
    ) -> Result<Assembled, LoadFailure> {
        let budget = self.config.flight.budget;
        let (sections, onboarding) = (base.missing(), base.onboarding());
        let ai_calls = (depth == LoadMode::Prefetch).then(|| Arc::clone(&self.budget));
        let plan = Plan { sections, as_of, refresh: depth == LoadMode::Refresh, budget, onboarding, ai_calls };
        match tokio::time::timeout(budget, Box::pin(self.aggregator.aggregate(query, &plan))).await {
            Ok(Ok(assembled)) => Ok(assembled),
            Ok(Err(AggregateError::UnknownUser)) => Err(LoadFailure::NotFound(Missing::User)),
            Ok(Err(AggregateError::BudgetExceeded)) => Err(LoadFailure::BudgetExceeded),
            Ok(Err(AggregateError::UnknownStrategy)) => Err(LoadFailure::NotFound(Missing::Strategy)),
            Ok(Err(AggregateError::Source { name, error })) => Err(source_failed(name, error)),
            Err(_) => Err(source_failed("onboarding", SourceError::Timeout)),
        }
    }

    /// What a load without a document means for those who asked, whether it ran here or elsewhere, with `tag`.
    fn conclude(
        &self,
        key: &CacheKey,
        view: &LogView,
        read_position: i64,
        reserve: &Fallback,
        failure: LoadFailure,
    ) -> Result<LoadedSnapshot, Error> {
        match &failure {
            LoadFailure::BudgetExceeded => {}
            LoadFailure::NotFound(what) => self.remember_missing(key, view, read_position, *what),
            LoadFailure::SourceFailed { cause, .. } => {
                // Judged now: a fence may have come while the sources were tried.
                let now = self.invalidation_log.view(key);
                let last_good = reserve.last_good(&now);
                if let Some(error) = cause {
                    let (error, fallback): (&dyn std::error::Error, _) = (error, last_good.is_some());
                    tracing::warn!(error, data_hash = %key.hash, fallback, "a required source failed");
                }
                if let Some((snapshot, tier)) = last_good {
                    return Ok(LoadedSnapshot { snapshot, status: CacheStatus::Stale(tier), position: now.applied });
                }
            }
        }
        Err(failure.into())
    }

    /// Joins what is reused and what was read; what failed is taken from the reserve, as far as that is not outdated.
    fn seal(
        &self,
        key: &CacheKey,
        view: &LogView,
        as_of: DateTime<Utc>,
        reused: Vec<Part>,
        assembled: Assembled,
        reserve: &Fallback,
    ) -> Snapshot {
        let stale_max = self.config.database.stale_max;
        let read = assembled.parts.into_iter().map(|AssembledPart { facts, bytes, rows }| {
            let part = Part { facts, read_position: view.applied, bytes, rows };
            match part.facts.state {
                State::Failed => reserve.stale_part(&part, view, stale_max, as_of).unwrap_or(part),
                _ => part,
            }
        });
        let parts: Vec<Part> = reused.into_iter().chain(read).collect();
        let life = self.jittered_ttl();
        // The document expires with its first section. What failed is tried again soon, however old what stands there.
        let ends = parts.iter().map(|part| match part.facts.state {
            State::Failed | State::Stale => as_of + self.config.flight.partial_ttl,
            _ => part.facts.read_at.min(as_of) + life,
        });
        // Cut to what the tiers keep, or a hit in one would name another instant.
        let expires_at = ends.min().unwrap_or(as_of).trunc_subsecs(6);
        Snapshot::seal(key.clone(), Arc::clone(&view.epoch), as_of, expires_at, parts)
    }

    fn jittered_ttl(&self) -> Duration {
        let config = &self.config.database;
        config.ttl.mul_f64(1.0 + config.ttl_jitter * (2.0 * rand::random::<f64>() - 1.0))
    }

    /// Remembers for a short while, in memory only, that there is nothing.
    fn remember_missing(&self, key: &CacheKey, view: &LogView, read_position: i64, what: Missing) {
        let answer = MemoryValue::NotFound { what, epoch: Arc::clone(&view.epoch), read_position };
        let until = self.clock.now().after(self.config.flight.not_found_ttl);
        self.memory.put(key.clone(), MemoryEntry { answer, until, renew_from: until, unread: None });
    }
}

fn source_failed(name: &'static str, error: SourceError) -> LoadFailure {
    let cause = Some(Arc::new(AggregateError::Source { name, error }));
    LoadFailure::SourceFailed { source_name: name, retry_after: backoff::pause(), cause }
}
