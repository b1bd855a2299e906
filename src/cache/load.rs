//! Loads: what happens when memory has no answer. Callers share them, and a limited number runs at once.
//!
//! One load ([`loader`]) looks into Redis and the table, else assembles the document from the sources, once for the whole
//! cluster ([`cluster_wide`]), and fills the tiers. This file decides which callers share a load.

pub(super) mod admission;
pub(super) mod backoff;
mod cluster_wide;
mod lease;
pub(super) mod loader;
pub(super) mod metrics;
pub(crate) mod outcome;

use std::sync::Arc;

use tracing::{Instrument as _, Span, info_span};

use self::{
    loader::Loader,
    outcome::{LoadMode, LoadOutcome, LoadedSnapshot},
};
use super::single_flight::{LoadHandle, LoadRole, Refreshes, SingleFlight};
use crate::{
    error::Error,
    model::{CacheKey, CacheStatus, Snapshot, UserDataQuery},
    sync::TaskTracker,
    telemetry::trace,
};

/// The running loads of this instance.
#[derive(Debug)]
pub(crate) struct Loads {
    loader: Arc<Loader>,
    /// By key and log epoch: positions of two epochs cannot be compared, so their callers never share a load.
    shared: SingleFlight<(CacheKey, Arc<str>), LoadOutcome>,
    /// Loads that bypass the tiers, by key and mode.
    bypassing: Refreshes<(CacheKey, LoadMode), LoadOutcome>,
    waiting_max: usize,
}

impl Loads {
    pub(super) fn new(loader: Loader, waiting_max: usize, tasks: &TaskTracker) -> Self {
        Self {
            loader: Arc::new(loader),
            shared: SingleFlight::new(tasks.clone()),
            bypassing: Refreshes::new(tasks.clone()),
            waiting_max,
        }
    }

    /// Waits for a load that looks into the tiers first.
    pub(super) async fn read_through(&self, query: &UserDataQuery) -> Result<LoadedSnapshot, Error> {
        let (handle, role) = self.join_or_start(query, LoadMode::ReadThrough);
        self.wait(handle, role).await
    }

    /// Waits for a load from the sources. Callers share only loads that have not started to read.
    pub(super) async fn bypass_tiers(&self, query: &UserDataQuery, mode: LoadMode) -> Result<LoadedSnapshot, Error> {
        let key = (query.key().clone(), mode);
        let (handle, role) = self.bypassing.join_or_start(&key, || Arc::clone(&self.loader).load(query.clone(), mode));
        self.wait(handle, role).await
    }

    /// Joins the load of a key if it started after every invalidation known now, else starts one.
    pub(crate) fn join_or_start(&self, query: &UserDataQuery, mode: LoadMode) -> (LoadHandle<LoadOutcome>, LoadRole) {
        let view = self.loader.log.view(query.key());
        let (last_invalidation, read_position) = (view.last_invalidation(), view.applied);
        let key = (query.key().clone(), Arc::clone(&view.epoch));
        self.shared.join_or_start(&key, last_invalidation, read_position, || {
            Arc::clone(&self.loader).load(query.clone(), mode)
        })
    }

    /// Starts a load for a hit close to its expiry, so that no later caller has to wait. A document without readers
    /// expires instead.
    pub(super) fn refresh_ahead_if_due(&self, query: &UserDataQuery, snapshot: &Snapshot) {
        if self.loader.is_due(snapshot) && !self.is_backing_off(query.key()) {
            // Callers that miss meanwhile join it.
            let _ = self.join_or_start(query, LoadMode::Revalidate(snapshot.as_of));
        }
    }

    /// Starts a load behind an answer, unless requests need the capacity.
    pub(super) fn refresh_if_room(&self, query: &UserDataQuery, snapshot: &Snapshot) {
        if self.has_room() && !self.is_backing_off(query.key()) {
            let _ = self.join_or_start(query, LoadMode::Revalidate(snapshot.as_of));
        }
    }

    /// Whether a load of this key failed a moment ago.
    pub(crate) fn is_backing_off(&self, key: &CacheKey) -> bool {
        self.loader.backoff.of(key, &self.loader.log.view(key)).is_some()
    }

    /// Whether loads without a waiting caller may start.
    pub(crate) fn has_room(&self) -> bool {
        self.loader.admission.has_room()
    }

    /// Running loads by key.
    pub(super) fn active(&self) -> usize {
        self.shared.active()
    }

    /// All running loads, those that bypass the tiers included.
    pub(super) fn under_way(&self) -> i64 {
        self.loader.metrics.under_way()
    }

    /// Waiting callers.
    pub(super) fn waiting(&self) -> i64 {
        self.shared.waiting()
    }

    async fn wait(&self, handle: LoadHandle<LoadOutcome>, role: LoadRole) -> Result<LoadedSnapshot, Error> {
        let _waiting = self.shared.waiter(self.waiting_max).ok_or_else(Error::overloaded)?;
        // The load of the caller that started it is part of the caller's own trace.
        let span = match role {
            LoadRole::Leader => Span::none(),
            LoadRole::Follower => trace::within_request(|| info_span!("wait")),
        };
        let outcome = handle.wait().instrument(span.clone()).await.ok_or(Error::Internal)?;
        trace::link(&span, outcome.span);
        let mut loaded = outcome.result?;
        if role == LoadRole::Follower && loaded.status == CacheStatus::Assembled {
            loaded.status = CacheStatus::Shared;
        }
        Ok(loaded)
    }
}
