//! One load: what it reads from the sources, what it makes of a failure, and what it gives to the tiers.
//!
//! Order: a load notes the log's position before it reads anything, so a read position is never too high. It stores the
//! document behind the answer, and only while no invalidation has outdated it.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound as _, Utc};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, field::Empty, info_span};

use super::{
    admission::Admission,
    backoff::{self, FailureBackoff},
    lease::{LoadFailure, NoDocument},
    metrics::LoadMetrics,
    outcome::{LoadMode, LoadOutcome, LoadedSnapshot},
};
use crate::{
    aggregate::{
        AggregateError, Aggregator, Assembled, AssembledPart, OpenSources, Plan, SourceError,
        ai_analysis::{Budget, Late},
    },
    cache::{
        counters::Counters,
        invalidation_log::{InvalidationLog, LogView},
        tiers::{
            Tiers,
            fallback::{Fallback, ReusedSections},
            lookup::TierHit,
            memory::Unread,
        },
        watched_files::WatchedFiles,
    },
    clock::Clock,
    config::Config,
    error::{Error, Missing},
    lease::{Lease, Leases},
    model::{CacheStatus, Snapshot, State, Tier, UserDataQuery, snapshot::Part},
    mutant::{self, Mutant},
    sync::TaskTracker,
    telemetry::trace,
};

/// Everything that a load needs.
#[derive(Debug)]
pub(in crate::cache) struct Loader {
    pub(in crate::cache) config: Config,
    pub(in crate::cache) tiers: Arc<Tiers>,
    pub(in crate::cache) log: Arc<InvalidationLog>,
    pub(in crate::cache) leases: Arc<Leases>,
    pub(in crate::cache) aggregator: Arc<Aggregator>,
    /// None: one database for all users.
    pub(in crate::cache) files: Option<Arc<WatchedFiles>>,
    pub(in crate::cache) counters: Arc<Counters>,
    pub(in crate::cache) metrics: LoadMetrics,
    pub(in crate::cache) admission: Admission,
    pub(in crate::cache) backoff: FailureBackoff,
    /// AI calls that prefetches may make.
    pub(in crate::cache) prefetch_budget: Arc<Budget>,
    pub(in crate::cache) tasks: TaskTracker,
    pub(in crate::cache) stop: CancellationToken,
    pub(in crate::cache) clock: Clock,
}

/// What a load knows when it turns to the sources.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) query: &'a UserDataQuery,
    pub(super) mode: LoadMode,
    /// The log before anything is read.
    pub(super) view: &'a LogView,
    pub(super) fallback: &'a Fallback,
}

impl Loader {
    /// Loads a document. Does nothing before the first poll. On the heap, because the sources' statements make the
    /// future large.
    pub(super) fn load(self: Arc<Self>, query: UserDataQuery, mode: LoadMode) -> BoxFuture<'static, LoadOutcome> {
        let data_hash = tracing::field::display(query.key().hash);
        let span = trace::outliving(info_span!(parent: None, "load", data_hash, outcome = Empty, trace_id = Empty));
        let context = trace::span_context(&span);
        let work = async move {
            let running = self.metrics.begin(&self.clock);
            let result = match mode {
                LoadMode::ReadThrough | LoadMode::Revalidate(_) | LoadMode::Prefetch => {
                    self.load_once(&query, mode).await
                }
                LoadMode::BypassCache | LoadMode::Refresh => self.bypass_tiers(&query, mode).await,
            };
            running.end(&result);
            LoadOutcome { result, span: context }
        };
        Box::pin(work.instrument(span))
    }

    async fn bypass_tiers(self: &Arc<Self>, query: &UserDataQuery, mode: LoadMode) -> Result<LoadedSnapshot, Error> {
        let fallback = &Fallback::default();
        let view = &self.log.view(query.key());
        // A refresh asks for an attempt now.
        if mode != LoadMode::Refresh
            && let Some(recent) = self.backoff.of(query.key(), view)
        {
            let attempt = Attempt { query, mode, view, fallback };
            return self.conclude(attempt, recent.read_position, recent.into());
        }
        let _permit = self.admission.permit().await?;
        // Order: again, after the wait. Nothing has been read yet, so the document honours later invalidations too.
        let view = &self.log.view(query.key());
        self.load_from_sources(Attempt { query, mode, view, fallback }, None).await
    }

    /// Whether a hit is close enough to its expiry to be loaded again behind the answer.
    pub(super) fn is_due(&self, snapshot: &Snapshot) -> bool {
        let now = self.clock.utc();
        let due = snapshot.refresh_at(self.config.database.refresh_after);
        due <= now && now < snapshot.expires_at && self.admission.has_room()
    }

    /// Copies a hit into the tiers above.
    pub(super) fn found(&self, hit: TierHit, mode: LoadMode, status: fn(Tier) -> CacheStatus) -> LoadedSnapshot {
        let TierHit { snapshot, tier, position } = hit;
        self.keep(&snapshot, mode);
        if tier == Tier::Database {
            self.tiers.store_behind(snapshot.clone(), Some(Tier::Redis), None);
        }
        LoadedSnapshot { snapshot, status: status(tier), position }
    }

    fn keep(&self, snapshot: &Snapshot, mode: LoadMode) {
        self.tiers.keep(snapshot, (mode == LoadMode::Prefetch).then(Unread::default));
    }

    /// Loads from the sources, for every instance that waits for `lease`. The lease is released when the document is
    /// stored, or when the reason for its absence is known.
    pub(super) async fn load_from_sources(
        self: &Arc<Self>,
        attempt: Attempt<'_>,
        lease: Option<Lease>,
    ) -> Result<LoadedSnapshot, Error> {
        let (opened, view) = &self.open(attempt).await;
        let attempt = Attempt { view, ..attempt };
        let Attempt { query, mode, .. } = attempt;
        let assembling = async { self.assemble(opened.as_ref().map_err(Clone::clone)?, attempt).await };
        let (snapshot, late) = match assembling.instrument(info_span!("assemble")).await {
            Ok(assembled) => assembled,
            Err(failure) => {
                if let LoadFailure::SourceFailed { source_name, retry_after, .. } = &failure {
                    self.backoff.begin(query.key(), view, source_name, *retry_after);
                }
                NoDocument::Failed(failure.clone()).share(lease, view);
                return self.conclude(attempt, view.applied, failure);
            }
        };
        // No reply can carry a larger document, so storing it would only evict others. Requests for fewer sections
        // load it each time.
        if snapshot.payload.len() > self.config.server.max_response_bytes {
            NoDocument::TooLarge.share(lease, view);
        } else if (view.can_judge(&snapshot) || mutant::on(Mutant::ReadPositionTakenAtTheEnd)) && !view.epoch.is_empty()
        {
            self.keep(&snapshot, mode);
            self.tiers.store_behind(snapshot.clone(), None, lease);
        }
        if let Some(late) = late {
            self.complete_when(late, query.clone(), snapshot.as_of);
        }
        let status = if mode == LoadMode::Refresh { CacheStatus::Refreshed } else { CacheStatus::Assembled };
        Ok(LoadedSnapshot { snapshot, status, position: view.applied })
    }

    /// Opens the user's database, with the view of what will be read from it.
    ///
    /// Order: the view's positions are of before. A copy of a file is made here, and is a reading of the sources.
    async fn open(&self, Attempt { query, view, .. }: Attempt<'_>) -> (Result<OpenSources, LoadFailure>, LogView) {
        let opened = self.aggregator.open(&query.user).await.map_err(failure);
        let view = match (&self.files, opened.as_ref().ok().and_then(|opened| opened.look.as_ref())) {
            (Some(files), Some(look)) => view.of_state(&files.learn(&query.user, look)),
            _ => view.clone(),
        };
        (opened, view)
    }

    /// Loads a document again when its late AI response has arrived.
    fn complete_when(self: &Arc<Self>, late: Late, query: UserDataQuery, as_of: DateTime<Utc>) {
        let loader = Arc::clone(self);
        self.tasks.spawn(async move {
            // A shutdown does not wait for it; the next instance finds the cached response.
            if loader.stop.run_until_cancelled(late.is_cached()).await == Some(true) {
                // If it fails, the incomplete document expires soon.
                let _ = loader.load(query, LoadMode::Revalidate(as_of)).await;
            }
        });
    }

    /// Reads the sections that the fallback cannot supply, and joins them with the others.
    async fn assemble(
        &self,
        opened: &OpenSources,
        attempt: Attempt<'_>,
    ) -> Result<(Snapshot, Option<Late>), LoadFailure> {
        let as_of = self.clock.utc();
        let reusable = attempt.fallback.reused_sections(attempt.view, &self.config.database, as_of);
        let mut reused = reusable.unwrap_or_default();
        let mut assembled = self.aggregate(opened, attempt, &reused, as_of).await?;
        if !reused.parts.is_empty() && reused.strategy != Some(assembled.strategy) {
            reused = reused.without_strategy();
            assembled = self.aggregate(opened, attempt, &reused, as_of).await?;
        }
        self.counters.sections_read(assembled.parts.iter().map(|part| part.facts.section));
        self.counters.sections_reused(reused.parts.iter().map(|part| part.facts.section));
        let late = assembled.late.take();
        let at_the_end = mutant::on(Mutant::ReadPositionTakenAtTheEnd).then(|| self.log.view(attempt.query.key()));
        let attempt = Attempt { view: at_the_end.as_ref().unwrap_or(attempt.view), ..attempt };
        Ok((self.seal(attempt, as_of, reused.parts, assembled), late))
    }

    async fn aggregate(
        &self,
        opened: &OpenSources,
        Attempt { query, mode, .. }: Attempt<'_>,
        reused: &ReusedSections,
        as_of: DateTime<Utc>,
    ) -> Result<Assembled, LoadFailure> {
        let budget = self.config.loads.budget;
        let (sections, onboarding) = (reused.missing(), reused.onboarding());
        let ai_calls = (mode == LoadMode::Prefetch).then(|| Arc::clone(&self.prefetch_budget));
        let plan = Plan { sections, as_of, refresh: mode == LoadMode::Refresh, budget, onboarding, ai_calls };
        match tokio::time::timeout(budget, Box::pin(self.aggregator.aggregate_from(opened, query, &plan))).await {
            Ok(Ok(assembled)) => Ok(assembled),
            Ok(Err(error)) => Err(failure(error)),
            Err(_) => Err(source_failed("onboarding", SourceError::Timeout)),
        }
    }

    /// What callers get of a load without a document, which ran here or elsewhere with `read_position`.
    pub(super) fn conclude(
        &self,
        Attempt { query, view, fallback, .. }: Attempt<'_>,
        read_position: i64,
        failure: LoadFailure,
    ) -> Result<LoadedSnapshot, Error> {
        match &failure {
            LoadFailure::BudgetExceeded => {}
            LoadFailure::NotFound(what) => {
                let ttl = self.config.loads.not_found_ttl;
                self.tiers.keep_not_found(query.key(), view, read_position, *what, ttl);
            }
            LoadFailure::SourceFailed { cause, .. } => {
                // Judged now, because invalidations may have arrived since the lookup.
                let now = self.log.view(query.key());
                let last_good = fallback.last_good(&now);
                if let Some(error) = cause {
                    let (error, fallback): (&dyn std::error::Error, _) = (error, last_good.is_some());
                    tracing::warn!(error, data_hash = %query.key().hash, fallback, "a required source failed");
                }
                if let Some((snapshot, tier)) = last_good {
                    return Ok(LoadedSnapshot { snapshot, status: CacheStatus::Stale(tier), position: now.applied });
                }
            }
        }
        Err(failure.into())
    }

    /// Joins reused and new sections. The fallback replaces failed ones while it is valid.
    fn seal(
        &self,
        Attempt { query, view, fallback, .. }: Attempt<'_>,
        as_of: DateTime<Utc>,
        reused: Vec<Part>,
        assembled: Assembled,
    ) -> Snapshot {
        let stale_if_error = self.config.database.stale_if_error;
        let read = assembled.parts.into_iter().map(|AssembledPart { facts, bytes, rows }| {
            let part = Part { facts, read_position: view.applied, bytes, rows };
            match part.facts.state {
                State::Failed => fallback.stale_part(&part, view, stale_if_error, as_of).unwrap_or(part),
                _ => part,
            }
        });
        let parts: Vec<Part> = reused.into_iter().chain(read).collect();
        let ttl = self.jittered_ttl();
        // The document expires with its first section. Failed ones are tried again soon, whatever replaces them.
        let expiries = parts.iter().map(|part| match part.facts.state {
            State::Failed | State::Stale => as_of + self.config.loads.partial_ttl,
            _ => part.facts.read_at.min(as_of) + ttl,
        });
        // The tiers keep microseconds; a hit would otherwise show another expiry.
        let expires_at = expiries.min().unwrap_or(as_of).trunc_subsecs(6);
        Snapshot::seal(query.key().clone(), Arc::clone(&view.epoch), as_of, expires_at, parts)
    }

    fn jittered_ttl(&self) -> Duration {
        let config = &self.config.database;
        config.ttl.mul_f64(1.0 + config.ttl_jitter * (2.0 * rand::random::<f64>() - 1.0))
    }
}

fn failure(error: AggregateError) -> LoadFailure {
    match error {
        AggregateError::UnknownUser => LoadFailure::NotFound(Missing::User),
        AggregateError::UnknownStrategy => LoadFailure::NotFound(Missing::Strategy),
        AggregateError::BudgetExceeded => LoadFailure::BudgetExceeded,
        AggregateError::Source { name, error } => source_failed(name, error),
    }
}

fn source_failed(name: &'static str, error: SourceError) -> LoadFailure {
    let cause = Some(Arc::new(AggregateError::Source { name, error }));
    LoadFailure::SourceFailed { source_name: name, retry_after: backoff::pause(), cause }
}
