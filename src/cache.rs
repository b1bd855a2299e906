//! The cache: three tiers in front of the sources, and the rules by which an answer may be given.
//!
//! The way of a request is [`UserDataCache::get`]: check how far the invalidation log is known, look into
//! memory, else wait for a flight. What a flight does is [`load`]. Redis, the table and memory are
//! plain value stores: a failing one is a miss, and nothing that they lose, replay or write late can
//! make an answer wrong, because every section is judged by the fence when it is read.

mod ahead;
pub mod invalidation_log;
pub mod single_flight;
pub mod hint;
mod inspector;
mod load;
mod metrics;
pub mod relay;
mod stats;
#[cfg(test)]
mod testing;
pub mod tiers;
mod upkeep;

use std::{sync::Arc, time::Duration};

use tracing::{Instrument as _, Span, field::Empty, info_span};

use ahead::Ahead;
use inspector::Inspector;
use invalidation_log::{InvalidationLog, InvalidationLogError, LogValidity};
use load::{LoadMode, LoadOutcome, LoadedSnapshot, Loader};
use relay::Relay;
use single_flight::{LoadHandle, LoadRole, Refreshes, SingleFlight};
use tiers::memory::MemoryValue;

pub use load::CacheParts;
pub use tiers::error::TierError;

use crate::{
    clock::Moment,
    error::{Error, Unavailable},
    model::{CacheKey, CacheStatus, Scope, SectionSet, Served, Snapshot, State, Tier, Token, UserDataQuery},
    mutant::{self, Mutant},
    sync::TaskTracker,
    telemetry::trace,
};

/// What a caller wants of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOptions {
    /// The sections that will be handed out: only they have to be valid.
    pub sections: SectionSet,
    /// How much has to be known about their freshness.
    pub freshness: Freshness,
    /// Nothing older than this invalidation.
    pub min_token: Option<Token>,
    /// An older snapshot is treated as missing.
    pub max_age: Option<Duration>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { sections: SectionSet::ALL, freshness: Freshness::Default, min_token: None, max_age: None }
    }
}

/// How much has to be known about an answer's freshness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Verified within the lease, or flagged.
    #[default]
    Default,
    /// Never unverified, never stale.
    Strict,
    /// The log is read first; otherwise as strict.
    Linearizable,
}

/// How an invalidation is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvalidateOptions {
    /// Return only once every instance honours it.
    pub wait_all: bool,
    /// Erase: rows, Redis copies and memos are gone before it returns.
    pub purge: bool,
}

/// An acknowledged invalidation.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalidated {
    /// Rows deleted, best effort.
    pub removed: u64,
    /// The fence's position.
    pub token: Token,
}

/// What a look into memory comes to.
enum InMemory {
    /// An answer, which may be that there is no such document.
    Found(Result<Served, Error>),
    /// What is there has been fenced.
    Superseded,
    /// Nothing that would do.
    Absent,
}

/// The three tiers, the fence, the flights and the sources behind them.
#[derive(Debug)]
pub struct UserDataCache {
    loader: Arc<Loader>,
    /// By key and log: the positions of two logs cannot be compared, so their loads are never shared.
    single_flight: SingleFlight<(CacheKey, Arc<str>), LoadOutcome>,
    /// Loads that skip the tiers, for callers who want nothing older than a moment ago.
    fresh: Refreshes<CacheKey, LoadOutcome>,
    /// Loads that skip the memo too.
    refreshes: Refreshes<CacheKey, LoadOutcome>,
    /// Changes in the sources, if this instance looks for them.
    relay: Option<Relay>,
    /// Loads behind changes, which nobody waits for.
    ahead: Arc<Ahead>,
    inspector: Inspector,
}

impl UserDataCache {
    /// Puts the parts together; `tasks` owns every load and every write behind an answer.
    #[must_use]
    pub fn new(mut parts: CacheParts, tasks: &TaskTracker) -> Self {
        if parts.config.reassembly.enabled {
            // It listens from now on: a change may come before anybody has looked for one.
            parts.invalidation_log.record_scopes();
        }
        Self {
            relay: parts.relay.take(),
            ahead: Arc::new(Ahead::new(
                &parts.config.reassembly,
                parts.config.flight.max_concurrent,
                parts.clock.clone(),
            )),
            inspector: Inspector::default(),
            loader: Arc::new(Loader::new(parts, tasks.clone())),
            single_flight: SingleFlight::new(tasks.clone()),
            fresh: Refreshes::new(tasks.clone()),
            refreshes: Refreshes::new(tasks.clone()),
        }
    }

    /// The user's document, from a tier or assembled.
    pub async fn get(&self, query: &UserDataQuery, wish: &ReadOptions) -> Result<Served, Error> {
        let validity = self.validity(wish).await?;
        if !self.has_reached(wish.min_token.as_ref()) {
            return self.load_past_the_tiers(query, wish, validity, LoadMode::BypassCache).await;
        }
        if let Some(answer) = self.in_memory(query, wish, validity) {
            return answer;
        }
        let (handle, role) = self.join_or_start(query, LoadMode::ReadThrough);
        let loaded = match self.wait(handle, role).await {
            // Another instance may have found nothing some seconds ago.
            Err(Error::NotFound { .. }) if wish.max_age.is_some() => {
                return self.load_past_the_tiers(query, wish, validity, LoadMode::BypassCache).await;
            }
            // It was begun for nobody. Somebody who waits is not bound by what that may cost.
            Err(Error::BudgetExceeded) => {
                return self.load_past_the_tiers(query, wish, validity, LoadMode::BypassCache).await;
            }
            loaded => loaded?,
        };
        if self.is_too_old(&loaded.snapshot, wish) {
            return self.load_past_the_tiers(query, wish, validity, LoadMode::BypassCache).await;
        }
        self.refresh_ahead_if_due(query, &loaded, validity);
        self.ahead.read(query);
        self.offer_to_inspector(query, &loaded, validity);
        self.served(loaded, role, validity, wish)
    }

    /// The user's document, assembled anew: nothing is read from any tier or memo.
    pub async fn refresh(&self, query: &UserDataQuery, wish: &ReadOptions) -> Result<Served, Error> {
        let validity = self.validity(wish).await?;
        self.load_past_the_tiers(query, wish, validity, LoadMode::Refresh).await
    }

    /// Makes everything read before this call unusable. `Ok` means that the fence is durable.
    pub async fn invalidate(&self, mut scope: Scope, how: InvalidateOptions) -> Result<Invalidated, Error> {
        if how.purge && scope.sections.is_all() {
            scope.sections = SectionSet::ERASED;
            self.ahead.forget(&scope.user);
        }
        let appended = match self.loader.invalidation_log.append(scope.clone()).await {
            Ok(appended) => appended,
            Err(error) => {
                tracing::error!(%error, "an invalidation could not be acknowledged");
                // Nothing was promised, but nothing old should be served on that can be dropped.
                self.loader.drop_without_invalidation(&scope).await;
                return Err(match error {
                    InvalidationLogError::Closed => unavailable(Unavailable::Draining),
                    _ => unavailable(Unavailable::InvalidationNotDurable),
                });
            }
        };
        let removing = async {
            match how.purge {
                true => self.loader.purge(&scope).await,
                // What is fenced in part is of use for the rest.
                false if !scope.sections.is_all() => Ok(0),
                false => Ok(self.loader.drop_copies(&scope, appended.token.position).await),
            }
        };
        let (removed, ()) = tokio::join!(removing, self.hint());
        let removed = removed?;
        if how.wait_all && !mutant::on(Mutant::WaitAllDoesNotWait) {
            self.loader.invalidation_log.wait_for_all(&appended).await;
        }
        Ok(Invalidated { removed, token: appended.token })
    }

    /// How far the log is known, having tried as hard as the caller wishes.
    async fn validity(&self, wish: &ReadOptions) -> Result<LogValidity, Error> {
        let log = &self.loader.invalidation_log;
        let behind = |token: &Token| {
            let position = log.position();
            position.epoch == token.epoch && position.position < token.position && !mutant::on(Mutant::IgnoresTheToken)
        };
        if wish.freshness == Freshness::Linearizable || wish.min_token.as_ref().is_some_and(&behind) {
            log.catch_up().await.map_err(|_| unavailable(Unavailable::FreshnessUnverified))?;
        }
        if wish.min_token.as_ref().is_some_and(behind) {
            return Err(unavailable(Unavailable::TokenAhead));
        }
        match log.renewed_validity().await {
            LogValidity::Verified => Ok(LogValidity::Verified),
            lapsed if wish.freshness == Freshness::Default => Ok(lapsed),
            _ => Err(unavailable(Unavailable::FreshnessUnverified)),
        }
    }

    /// Whether what is cached can be judged by a token. Not by one of another log, which says nothing
    /// about positions in ours: then only the sources are surely newer. The position counts here too,
    /// because the token's own log may have been adopted since [`Self::validity`] looked.
    fn has_reached(&self, token: Option<&Token>) -> bool {
        token.is_none_or(|token| {
            let ours = self.loader.invalidation_log.position();
            ours.epoch == token.epoch && (ours.position >= token.position || mutant::on(Mutant::IgnoresTheToken))
        })
    }

    /// The document, if it can be given at once: it is in memory, and there is nothing to wait for, not even for the
    /// log. The hot path, which is a part of [`Self::get`]; where it gives nothing, nothing is counted.
    #[must_use]
    pub fn hit(&self, query: &UserDataQuery, wish: &ReadOptions) -> Option<Served> {
        let loader = &self.loader;
        let began = loader.clock.now();
        let validity = loader.invalidation_log.validity_at(began);
        if validity != LogValidity::Verified
            || wish.freshness == Freshness::Linearizable
            || !self.has_reached(wish.min_token.as_ref())
        {
            return None;
        }
        let InMemory::Found(Ok(served)) = self.look_into_memory(query, wish, validity, began) else { return None };
        loader.memory_figures.hit(loader.clock.now().since(began));
        Some(served)
    }

    fn in_memory(
        &self,
        query: &UserDataQuery,
        wish: &ReadOptions,
        validity: LogValidity,
    ) -> Option<Result<Served, Error>> {
        if validity == LogValidity::Expired {
            return None;
        }
        let loader = &self.loader;
        let span = trace::within_request(|| info_span!("lookup memory", outcome = Empty));
        let began = loader.clock.now();
        let found = match self.look_into_memory(query, wish, validity, began) {
            InMemory::Found(answer) => Some(answer),
            InMemory::Superseded => {
                loader.counts.superseded.add(1);
                None
            }
            InMemory::Absent => None,
        };
        let took = loader.clock.now().since(began);
        span.record("outcome", if found.is_some() { "hit" } else { "miss" });
        if found.is_some() {
            loader.memory_figures.hit(took)
        } else {
            loader.memory_figures.miss(took)
        }
        found
    }

    /// An answer is given if it is present, not fenced, not expired.
    fn look_into_memory(
        &self,
        query: &UserDataQuery,
        wish: &ReadOptions,
        validity: LogValidity,
        now: Moment,
    ) -> InMemory {
        let (loader, key) = (&self.loader, query.key());
        let Some(held) = loader.memory.get(key).filter(|held| now < held.until) else { return InMemory::Absent };
        let view = loader.invalidation_log.view(key);
        let snapshot = match held.answer {
            MemoryValue::Snapshot(snapshot) => snapshot,
            MemoryValue::NotFound { what, epoch, read_position } => {
                let holds = validity == LogValidity::Verified
                    && view.epoch == epoch
                    && read_position >= view.last_invalidation();
                return match holds && wish.max_age.is_none() {
                    true => InMemory::Found(Err(Error::NotFound { what })),
                    false => InMemory::Absent,
                };
            }
        };
        if !view.admits(&snapshot, wish.sections) {
            return InMemory::Superseded;
        }
        if self.is_too_old(&snapshot, wish) {
            return InMemory::Absent;
        }
        if held.unread.is_some_and(|unread| unread.ends()) {
            self.ahead.read(query);
        }
        let loaded = LoadedSnapshot { snapshot, status: CacheStatus::Hit(Tier::Memory), position: view.applied };
        if now >= held.renew_from {
            self.refresh_ahead_if_due(query, &loaded, validity);
        }
        self.offer_to_inspector(query, &loaded, validity);
        InMemory::Found(self.served(loaded, LoadRole::Leader, validity, wish))
    }

    fn is_too_old(&self, snapshot: &Snapshot, wish: &ReadOptions) -> bool {
        // The clock is asked only by those who care.
        let is_older = |max_age| (self.loader.clock.utc() - snapshot.as_of).to_std().unwrap_or_default() > max_age;
        wish.max_age.is_some_and(is_older)
    }

    /// Joins the load of a key, if it began after every fence known now, or begins one.
    fn join_or_start(&self, query: &UserDataQuery, depth: LoadMode) -> (LoadHandle<LoadOutcome>, LoadRole) {
        let view = self.loader.invalidation_log.view(query.key());
        let (last_invalidation, read_position) = (view.last_invalidation(), view.applied);
        let key = (query.key().clone(), Arc::clone(&view.epoch));
        self.single_flight.join_or_start(&key, last_invalidation, read_position, || {
            Arc::clone(&self.loader).load(query.clone(), depth)
        })
    }

    /// Begins to assemble a document anew of whose life most is over, so that nobody has to wait when it ends.
    /// As long as people ask for it: what nobody asks for expires.
    fn refresh_ahead_if_due(&self, query: &UserDataQuery, loaded: &LoadedSnapshot, validity: LogValidity) {
        let hit = matches!(loaded.status, CacheStatus::Hit(_)) && validity == LogValidity::Verified;
        if !hit || !self.loader.is_due(&loaded.snapshot) {
            return;
        }
        let view = self.loader.invalidation_log.view(query.key());
        if self.loader.backoff.of(query.key(), &view).is_none() {
            // Whoever misses meanwhile joins it; nobody waits for it here.
            let _ = self.join_or_start(query, LoadMode::Revalidate(loaded.snapshot.as_of));
        }
    }

    /// Has some hits compared with the sources. Only where changes make themselves known: elsewhere a document may be
    /// as old as its life is long.
    fn offer_to_inspector(&self, query: &UserDataQuery, loaded: &LoadedSnapshot, validity: LogValidity) {
        let share = self.loader.config.inspector.share;
        // Order: the draw first, it is what most hits end with.
        if share > 0.0
            && rand::random::<f64>() < share
            && matches!(loaded.status, CacheStatus::Hit(_))
            && validity == LogValidity::Verified
            && self.relay.as_ref().is_some_and(|relay| !relay.is_missing())
        {
            self.inspector.pick(query, &loaded.snapshot);
        }
    }

    /// Loads from the sources, sharing only loads that have not begun yet.
    async fn load_past_the_tiers(
        &self,
        query: &UserDataQuery,
        wish: &ReadOptions,
        validity: LogValidity,
        depth: LoadMode,
    ) -> Result<Served, Error> {
        let refreshes = if depth == LoadMode::Refresh { &self.refreshes } else { &self.fresh };
        let loader = Arc::clone(&self.loader);
        let asked = query.clone();
        let (handle, role) = refreshes.join_or_start(query.key(), || loader.load(asked, depth));
        let loaded = self.wait(handle, role).await?;
        self.ahead.read(query);
        self.served(loaded, role, validity, wish)
    }

    async fn wait(&self, handle: LoadHandle<LoadOutcome>, role: LoadRole) -> Result<LoadedSnapshot, Error> {
        let waiting = self.single_flight.waiter(self.loader.config.flight.max_waiting);
        let _waiting = waiting.ok_or_else(Error::overloaded)?;
        // The leader's load is part of its own trace.
        let span = match role {
            LoadRole::Leader => Span::none(),
            LoadRole::Follower => trace::within_request(|| info_span!("wait")),
        };
        let landed = handle.wait().instrument(span.clone()).await.ok_or(Error::Internal)?;
        trace::link(&span, landed.load);
        landed.result
    }

    /// Counts an answer and says how it was found.
    fn served(
        &self,
        loaded: LoadedSnapshot,
        role: LoadRole,
        validity: LogValidity,
        wish: &ReadOptions,
    ) -> Result<Served, Error> {
        let LoadedSnapshot { snapshot, status, position } = loaded;
        let status = match (status, role) {
            (CacheStatus::Assembled, LoadRole::Follower) => CacheStatus::Shared,
            (status, _) => status,
        };
        let stale = matches!(status, CacheStatus::Stale(_)) || has_stale_section(&snapshot, wish.sections);
        if stale && wish.freshness != Freshness::Default {
            return Err(unavailable(Unavailable::FreshnessUnverified));
        }
        let verified = validity == LogValidity::Verified;
        self.loader.counts.served(status, verified);
        if matches!(status, CacheStatus::Hit(_) | CacheStatus::Stale(_)) {
            self.loader.access_counts.count(&snapshot.key);
        }
        let token = Token { epoch: Arc::clone(&snapshot.epoch), position };
        Ok(Served { snapshot, status, verified, token })
    }

    /// The invalidation log, for those who keep its copy current.
    #[must_use]
    pub fn invalidation_log(&self) -> &InvalidationLog {
        &self.loader.invalidation_log
    }
}

fn has_stale_section(snapshot: &Snapshot, asked: SectionSet) -> bool {
    let mut sections = snapshot.sections.iter().map(|section| &section.facts);
    sections.any(|facts| facts.state == State::Stale && asked.contains(facts.section))
}

fn unavailable(reason: Unavailable) -> Error {
    Error::Unavailable { reason, retry_after: Duration::from_secs(1), cause: None }
}
