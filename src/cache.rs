//! The cache: three tiers in front of the sources, and the rules by which it answers.
//!
//! [`UserDataCache::get`] checks how far the invalidation log is known, looks into memory, and otherwise waits for a
//! load ([`load`]). The log decides at each read which sections of a snapshot are valid, so that no failure of a tier
//! ([`tiers`]) can make an answer wrong.
//!
//! Requests leave two things for the background jobs: which documents they read ([`readers`]), and which one to compare
//! with its sources ([`samples`]).

pub(crate) mod change_feed;
pub(crate) mod counters;
mod feed_validity;
mod file_validity;
mod invalidation;
pub mod invalidation_log;
pub(crate) mod load;
mod metrics;
pub(crate) mod readers;
mod request;
pub(crate) mod samples;
pub mod single_flight;
mod stats;
#[cfg(test)]
mod testing;
pub mod tiers;
pub(crate) mod watched_files;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{field::Empty, info_span};

use self::{
    change_feed::ChangeFeed,
    counters::Counters,
    invalidation_log::{InvalidationLog, LogValidity},
    load::{
        Loads,
        admission::Admission,
        backoff::FailureBackoff,
        loader::Loader,
        metrics::LoadMetrics,
        outcome::{LoadMode, LoadedSnapshot},
    },
    readers::Readers,
    samples::Samples,
    tiers::{
        RemoteTiers, Tiers,
        database::DatabaseTier,
        memory::{JsonDocuments, MemoryValue},
        redis::RedisTier,
    },
    watched_files::WatchedFiles,
};
pub use self::{
    request::{Freshness, InvalidateOptions, Invalidated, ReadOptions},
    tiers::error::TierError,
};
use crate::{
    aggregate::{Aggregator, ai_analysis::Budget},
    changes::Outbox,
    clock::{Clock, Moment},
    config::Config,
    error::{Error, Unavailable},
    lease::Leases,
    model::{CacheStatus, SectionSet, Served, Snapshot, State, Tier, Token, UserDataQuery},
    mutant::{self, Mutant},
    privacy::UserKeys,
    sync::TaskTracker,
    telemetry::{Meter, trace},
};

/// What the cache consists of.
#[derive(Debug)]
pub struct CacheParts {
    pub config: Config,
    pub invalidation_log: InvalidationLog,
    pub leases: Arc<Leases>,
    pub redis: Option<RedisTier>,
    pub database: DatabaseTier,
    /// None: nothing is encrypted, nor was before.
    pub user_keys: Option<Arc<UserKeys>>,
    pub aggregator: Aggregator,
    /// The sources' outbox, if the change feed is on.
    pub outbox: Option<Outbox>,
    pub clock: Clock,
    /// Cancelled at shutdown.
    pub stop: CancellationToken,
    pub meter: Meter,
}

/// The result of a lookup in memory.
enum MemoryLookup {
    /// An answer, or that there is no such document.
    Found(Result<Served, Error>),
    /// An invalidation has outdated the snapshot.
    Superseded,
    /// No usable entry.
    Absent,
}

/// The three tiers, the invalidation log, the loads and the sources behind them.
#[derive(Debug)]
pub struct UserDataCache {
    pub(crate) config: Config,
    pub(crate) log: Arc<InvalidationLog>,
    pub(crate) tiers: Arc<Tiers>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) aggregator: Arc<Aggregator>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) user_keys: Option<Arc<UserKeys>>,
    pub(crate) outbox: Option<Outbox>,
    /// None: changes of the sources do not make themselves known.
    pub(crate) feed: Option<Arc<ChangeFeed>>,
    /// None: one database for all users.
    pub(crate) files: Option<Arc<WatchedFiles>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) clock: Clock,
}

impl UserDataCache {
    /// Connects the parts; `tasks` owns every load and every background write.
    #[must_use]
    pub fn new(parts: CacheParts, tasks: &TaskTracker) -> Self {
        let CacheParts { config, leases, redis, database, user_keys, outbox, clock, stop, meter, .. } = parts;
        let (log, aggregator) = (Arc::new(parts.invalidation_log), Arc::new(parts.aggregator.with_metrics(&meter)));
        aggregator.ai().heed(Arc::clone(&log) as _);
        if config.prefetch.enabled {
            // From now on: a change may arrive before the first look for one.
            log.record_scopes();
        }
        let files = aggregator.user_files().map(|files| WatchedFiles::new(files.clone(), &config, clock.clone()));
        let files = files.map(Arc::new);
        if let Some(files) = &files {
            log.watch(Arc::clone(files));
        }
        let feed = outbox.as_ref().map(|_| Arc::new(ChangeFeed::new(config.sources.feed_lease, clock.clone())));
        if let Some(feed) = &feed {
            log.follow(Arc::clone(feed));
        }
        if let Some(keys) = &user_keys {
            log.drop_keys_of_erased(Arc::clone(keys));
        }
        let counters = Arc::new(Counters::new(clock.now()));
        let remote = RemoteTiers { redis, database, encryption: user_keys.clone().filter(|_| config.privacy.encrypt) };
        let tiers = Arc::new(Tiers::new(&config, remote, Arc::clone(&log), &meter, tasks.clone(), clock.clone()));
        let loader = Loader {
            config: config.clone(),
            tiers: Arc::clone(&tiers),
            log: Arc::clone(&log),
            leases: Arc::clone(&leases),
            aggregator: Arc::clone(&aggregator),
            files: files.clone(),
            counters: Arc::clone(&counters),
            metrics: LoadMetrics::measured(&meter),
            admission: Admission::new(&config.loads, &clock),
            backoff: FailureBackoff::new(clock.clone()),
            prefetch_budget: Arc::new(Budget::new(&config.prefetch, clock.clone())),
            tasks: tasks.clone(),
            stop,
            clock: clock.clone(),
        };
        // Only the change feed tells a stale document from one that is merely cached.
        let share = if outbox.is_some() { config.staleness_check.share } else { 0.0 };
        Self {
            loads: Arc::new(Loads::new(loader, config.loads.max_waiting, tasks)),
            readers: Arc::new(Readers::new(&config.prefetch, Arc::clone(&counters), clock.clone())),
            samples: Arc::new(Samples::new(share, Arc::clone(&counters))),
            config,
            log,
            tiers,
            counters,
            aggregator,
            leases,
            user_keys,
            outbox,
            feed,
            files,
            tasks: tasks.clone(),
            clock,
        }
    }

    /// The user's document, from a tier or from the sources.
    pub async fn get(&self, query: &UserDataQuery, options: &ReadOptions) -> Result<Served, Error> {
        let validity = self.validity(query, options).await?;
        let is_strict = options.freshness != Freshness::Default;
        if !self.has_reached(options.min_token.as_ref()) || (is_strict && validity != LogValidity::Verified) {
            return self.load_from_sources(query, options, validity, LoadMode::BypassCache).await;
        }
        if let Some(answer) = self.in_memory(query, options, validity) {
            return answer;
        }
        let loaded = self.loads.read_through(query).await;
        let is_usable = match &loaded {
            // The file may have changed since the load began.
            Ok(loaded) if is_strict && !self.is_of_verified_file(loaded) => false,
            Ok(loaded) => !options.is_too_old(&loaded.snapshot, &self.clock),
            // Another instance may have found nothing some seconds ago.
            Err(Error::NotFound { .. }) => options.max_age.is_none(),
            // A joined prefetch ended at the AI budget, which does not bind requests.
            Err(Error::BudgetExceeded) => false,
            Err(_) => true,
        };
        if !is_usable {
            return self.load_from_sources(query, options, validity, LoadMode::BypassCache).await;
        }
        let loaded = loaded?;
        self.refresh_ahead_if_due(query, &loaded, validity);
        self.refresh_unwatched_if_due(query, &loaded);
        self.readers.read(query);
        self.offer_sample(query, &loaded);
        let validity = self.validity_now(&loaded, validity);
        self.served(loaded, validity, options)
    }

    /// The user's document from the sources, without any cached value, AI responses included.
    pub async fn refresh(&self, query: &UserDataQuery, options: &ReadOptions) -> Result<Served, Error> {
        let validity = self.validity(query, options).await?;
        self.load_from_sources(query, options, validity, LoadMode::Refresh).await
    }

    /// The document, if memory has it and nothing has to be waited for, not even the log. The hot path, and the
    /// beginning of [`Self::get`]; a miss here counts nothing.
    #[must_use]
    pub fn hit(&self, query: &UserDataQuery, options: &ReadOptions) -> Option<Served> {
        let began = self.clock.now();
        let validity = self.log.validity_at(began);
        if validity != LogValidity::Verified
            || options.freshness == Freshness::Linearizable
            || !self.has_reached(options.min_token.as_ref())
            || self.has_unverified_file(query)
            || !self.watches(options.sections)
        {
            return None;
        }
        let MemoryLookup::Found(Ok(served)) = self.look_into_memory(query, options, LogValidity::Verified, began)
        else {
            return None;
        };
        self.tiers.memory_metrics.hit(self.clock.now().since(began));
        Some(served)
    }

    fn in_memory(
        &self,
        query: &UserDataQuery,
        options: &ReadOptions,
        validity: LogValidity,
    ) -> Option<Result<Served, Error>> {
        if validity == LogValidity::Expired {
            return None;
        }
        let span = trace::within_request(|| info_span!("lookup memory", outcome = Empty));
        let began = self.clock.now();
        let found = match self.look_into_memory(query, options, validity, began) {
            MemoryLookup::Found(answer) => Some(answer),
            MemoryLookup::Superseded => {
                self.tiers.superseded.add(1);
                None
            }
            MemoryLookup::Absent => None,
        };
        let took = self.clock.now().since(began);
        let metrics = &self.tiers.memory_metrics;
        span.record("outcome", if found.is_some() { "hit" } else { "miss" });
        if found.is_some() {
            metrics.hit(took)
        } else {
            metrics.miss(took)
        }
        found
    }

    /// Finds an entry that is valid and has not expired.
    fn look_into_memory(
        &self,
        query: &UserDataQuery,
        options: &ReadOptions,
        validity: LogValidity,
        now: Moment,
    ) -> MemoryLookup {
        let key = query.key();
        let Some(entry) = self.tiers.memory.get(key).filter(|entry| now < entry.until) else {
            return MemoryLookup::Absent;
        };
        let view = self.log.view(key);
        let validity = validity.max(view.file);
        let snapshot = match entry.value {
            MemoryValue::Snapshot(snapshot) => snapshot,
            MemoryValue::NotFound { what, epoch, read_position } => {
                let holds = validity == LogValidity::Verified
                    && view.epoch == epoch
                    && read_position >= view.last_invalidation();
                return match holds && options.max_age.is_none() {
                    true => MemoryLookup::Found(Err(Error::NotFound { what })),
                    false => MemoryLookup::Absent,
                };
            }
        };
        if !view.admits(&snapshot, options.sections) {
            return MemoryLookup::Superseded;
        }
        if options.is_too_old(&snapshot, &self.clock) {
            return MemoryLookup::Absent;
        }
        if entry.unread.is_some_and(|unread| unread.ends()) {
            self.readers.read(query);
        }
        let loaded = LoadedSnapshot { snapshot, status: CacheStatus::Hit(Tier::Memory), position: view.applied };
        if now >= entry.refresh_ahead_from {
            self.refresh_ahead_if_due(query, &loaded, validity);
        }
        if validity != LogValidity::Verified {
            self.refresh_unwatched_if_due(query, &loaded);
        }
        self.offer_sample(query, &loaded);
        MemoryLookup::Found(self.served(loaded, validity, options))
    }

    async fn load_from_sources(
        &self,
        query: &UserDataQuery,
        options: &ReadOptions,
        validity: LogValidity,
        mode: LoadMode,
    ) -> Result<Served, Error> {
        let loaded = self.loads.bypass_tiers(query, mode).await?;
        self.readers.read(query);
        let validity = self.validity_of_sources(options, validity).await;
        let validity = self.validity_now(&loaded, validity);
        self.served(loaded, validity, options)
    }

    /// How far the log is known, after the effort that the caller asks for. Where each user has a file, it is looked at.
    async fn validity(&self, query: &UserDataQuery, options: &ReadOptions) -> Result<LogValidity, Error> {
        let is_behind = |token: &Token| {
            let position = self.log.position();
            position.epoch == token.epoch && position.position < token.position && !mutant::on(Mutant::IgnoresTheToken)
        };
        if options.freshness == Freshness::Linearizable {
            self.reach_committed_changes(options).await?;
        }
        if options.freshness == Freshness::Linearizable || options.min_token.as_ref().is_some_and(&is_behind) {
            self.log.catch_up().await.map_err(|_| unavailable(Unavailable::FreshnessUnverified))?;
        }
        if options.min_token.as_ref().is_some_and(is_behind) {
            return Err(unavailable(Unavailable::TokenAhead));
        }
        self.look_at_file(query, options).await?;
        let validity = match options.freshness {
            // The log was read just now, after all committed changes had reached it.
            Freshness::Linearizable => self.log.lease_validity(),
            _ => self.validity_of(options.sections, self.log.renewed_validity().await),
        };
        // If only the changes are unknown, the sources still tell.
        let is_enough = validity == LogValidity::Verified
            || options.freshness == Freshness::Default
            || self.validity_of_sources(options, validity).await == LogValidity::Verified;
        if is_enough { Ok(validity) } else { Err(unavailable(Unavailable::FreshnessUnverified)) }
    }

    /// Whether cached snapshots can be compared with a token. A token of another log epoch says nothing about our
    /// positions; then only the sources are surely newer. The position counts too, because the token's epoch may have
    /// become ours after [`Self::validity`] looked.
    fn has_reached(&self, token: Option<&Token>) -> bool {
        token.is_none_or(|token| {
            let ours = self.log.position();
            ours.epoch == token.epoch && (ours.position >= token.position || mutant::on(Mutant::IgnoresTheToken))
        })
    }

    fn refresh_ahead_if_due(&self, query: &UserDataQuery, loaded: &LoadedSnapshot, validity: LogValidity) {
        if matches!(loaded.status, CacheStatus::Hit(_)) && validity == LogValidity::Verified {
            self.loads.refresh_ahead_if_due(query, &loaded.snapshot);
        }
    }

    /// Has a share of the hits compared with the sources.
    fn offer_sample(&self, query: &UserDataQuery, loaded: &LoadedSnapshot) {
        // Those, too, whose changes are not known.
        if self.samples.draw()
            && matches!(loaded.status, CacheStatus::Hit(_))
            && self.log.lease_validity() == LogValidity::Verified
        {
            self.samples.offer(query, &loaded.snapshot);
        }
    }

    /// Counts an answer.
    fn served(&self, loaded: LoadedSnapshot, validity: LogValidity, options: &ReadOptions) -> Result<Served, Error> {
        let LoadedSnapshot { snapshot, status, position } = loaded;
        let is_stale = matches!(status, CacheStatus::Stale(_)) || has_stale_section(&snapshot, options.sections);
        if is_stale && options.freshness != Freshness::Default {
            return Err(unavailable(Unavailable::FreshnessUnverified));
        }
        let verified = validity == LogValidity::Verified;
        if !verified && options.freshness != Freshness::Default {
            return Err(unavailable(Unavailable::FreshnessUnverified));
        }
        self.counters.answered(status, verified);
        if matches!(status, CacheStatus::Hit(_) | CacheStatus::Stale(_)) {
            self.tiers.access_counts.count(&snapshot.key);
        }
        let token = Token { epoch: self.log_of(&snapshot), position };
        Ok(Served { snapshot, status, verified, changes_known: self.knows_changes(), token })
    }

    #[must_use]
    pub(crate) fn json_documents(&self) -> Arc<JsonDocuments> {
        Arc::clone(self.tiers.memory.json())
    }

    /// The log of invalidations, which decides what is valid.
    #[must_use]
    pub fn invalidation_log(&self) -> &Arc<InvalidationLog> {
        &self.log
    }

    /// Writes the last access counts and closes Redis.
    pub async fn close(&self) {
        self.tiers.close().await;
    }
}

fn has_stale_section(snapshot: &Snapshot, asked: SectionSet) -> bool {
    let mut sections = snapshot.sections.iter().map(|section| &section.facts);
    sections.any(|facts| facts.state == State::Stale && asked.contains(facts.section))
}

fn unavailable(reason: Unavailable) -> Error {
    Error::Unavailable { reason, retry_after: Duration::from_secs(1), cause: None }
}
