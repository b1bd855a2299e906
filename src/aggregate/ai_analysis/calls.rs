//! Answers an input from the response cache, else by one call to the model for all waiting callers.
//!
//! Look-up, call and storing are one task of the app's tracker. Callers wait for it until their soft timeout. The task
//! goes on until the hard timeout, because its call is already paid for. If the response cache fails, that costs a call
//! and never an answer. Of all instances, one calls: [`once`].
//!
//! The source's guard is around the call alone: an open circuit refuses no cached response, and a slow call that
//! answers is no failure, even if its callers have left.

mod asking;
mod once;
mod unusable;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::RwLock,
    time::{Instant, timeout, timeout_at},
};
use tracing::Instrument;

use super::{
    budget::Budget,
    endpoint::AiEndpoint,
    erasures::Erasures,
    failure::{CallFailure, FailureReason},
    input::{Input, ResponseKey},
    response_cache::{CachedResponse, Remembered, ResponseCache},
    spend::{AiMetrics, Spend},
};
use crate::{
    aggregate::{SourceError, guard::Guard},
    clock::{Clock, Moment},
    config,
    lease::{Lease, Leases},
    model::UserId,
    sync::{Mutex, TaskTracker},
    telemetry::trace,
};

type CallOutcome = Result<Answered, SourceError>;
/// A task, shared by its callers.
type Task = Shared<BoxFuture<'static, CallOutcome>>;

#[derive(Clone, Debug)]
struct Answered {
    answer: Arc<CachedResponse>,
    /// Whether it is in the response cache now.
    kept: bool,
}

/// A call that outlasts its callers' soft timeout. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Late(Task);

impl Late {
    /// Waits for the call's end, at most about twice its hard timeout. Returns whether its response is cached now.
    pub async fn is_cached(self) -> bool {
        self.0.await.is_ok_and(|answered| answered.kept)
    }
}

/// Why there is no analysis.
#[derive(Clone, Debug)]
pub struct Unanswered {
    pub error: SourceError,
    /// The call that goes on, if the soft timeout was the reason.
    pub late: Option<Late>,
}

impl From<SourceError> for Unanswered {
    fn from(error: SourceError) -> Self {
        Self { error, late: None }
    }
}

/// The model, and everything that saves or limits calls to it.
#[derive(Debug)]
pub(super) struct ModelCalls {
    endpoint: AiEndpoint,
    guard: Arc<Guard>,
    responses: ResponseCache,
    leases: Arc<Leases>,
    /// Distinguishes failures that this instance has shared from those of others.
    instance: String,
    clock: Clock,
    tracker: TaskTracker,
    soft_timeout: Duration,
    hard_timeout: Duration,
    retry_pause: Duration,
    retry_pause_max: Duration,
    spend: Spend,
    /// Tasks under way; each removes itself when it ends. Bounded by the loads that can start within the hard timeout.
    running: Mutex<HashMap<Job, Task>>,
    /// Users erased recently, and when: responses to inputs from before that are not stored. A task holds the read lock
    /// while it stores a response, so that an erasure waits for it.
    erased: RwLock<Vec<(UserId, Moment)>>,
    /// Of the other instances. Not set in tests of this module.
    erasures: OnceLock<Arc<dyn Erasures>>,
}

/// The key of a task. A refresh does not join a task that may use a cached response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Job {
    key: ResponseKey,
    refresh: bool,
}

/// What the response cache says about a key.
#[derive(Debug)]
enum Recalled {
    Cached(CachedResponse),
    /// The last response could not be used, and the pause after it is not over.
    Paused(CallFailure),
    Nothing,
}

/// The response cache could not be read. Its database is then not asked for a lease either.
#[derive(Clone, Copy, Debug)]
struct Unreadable;

/// The next step to an answer.
#[derive(Debug)]
pub(super) enum Way {
    Cached(CachedResponse),
    /// A call by this instance, on behalf of all that wait for the lease, if it has one.
    Ask(Option<Lease>),
}

impl ModelCalls {
    pub(super) fn new(
        config: &config::AiSettings,
        endpoint: AiEndpoint,
        guard: Arc<Guard>,
        responses: ResponseCache,
        leases: Arc<Leases>,
        clock: Clock,
        tracker: TaskTracker,
    ) -> Self {
        Self {
            endpoint,
            guard,
            responses,
            leases,
            instance: uuid::Uuid::new_v4().to_string(),
            spend: Spend::new(clock.clone(), config.calls_per_minute),
            clock,
            tracker,
            soft_timeout: config.soft_timeout,
            hard_timeout: config.hard_timeout,
            retry_pause: config.retry_pause,
            retry_pause_max: config.retry_pause_max,
            running: Mutex::default(),
            erased: RwLock::default(),
            erasures: OnceLock::new(),
        }
    }

    pub(super) async fn sweep_responses(&self, rows_max: u64) -> Result<u64, sea_orm::DbErr> {
        self.responses.sweep(self.clock.utc(), rows_max).await
    }

    pub(super) fn heed(&self, erasures: Arc<dyn Erasures>) {
        // Called once, when the cache is made.
        let _ = self.erasures.set(erasures);
    }

    /// Whether another instance may have erased the user since a call began. Its input was read a little earlier.
    async fn may_be_erased_since(&self, user: &UserId, began: Moment) -> bool {
        match self.erasures.get() {
            Some(erasures) => erasures.may_be_erased_since(user, began).await,
            None => false,
        }
    }

    /// Deletes what a task has stored, if its user may have been erased since. Returns whether it has.
    async fn forget_if_erased(&self, user: &UserId, began: Moment, key: &ResponseKey) -> bool {
        let is_erased = self.may_be_erased_since(user, began).await;
        if is_erased && let Err(error) = self.responses.forget(user, key).await {
            tracing::error!(%error, "AI response of an erased user not deleted; erase the user again");
        }
        is_erased
    }

    /// From now on, no response to an earlier input of this user is stored. Stored ones can be deleted afterwards.
    pub(super) async fn forget(&self, user: &UserId) {
        let now = self.clock.now();
        let mut erased = self.erased.write().await;
        // The wait for another instance's call and the own call end at the hard timeout each; the third one covers the
        // look-ups around them.
        erased.retain(|(other, at)| other != user && now.since(*at) < 3 * self.hard_timeout);
        erased.push((user.clone(), now));
    }

    /// The response to an input, from the cache or the model, if it comes before the soft timeout and before `until`.
    pub(super) async fn answer(
        self: &Arc<Self>,
        user: &UserId,
        input: &Input,
        refresh: bool,
        until: Instant,
    ) -> Result<Arc<CachedResponse>, Unanswered> {
        let until = until.min(Instant::now() + self.soft_timeout);
        let job = Job { key: input.response_key(&self.endpoint.asking()), refresh };
        let task = self.join(job, user, input);
        match timeout_at(until, task.clone()).await {
            Ok(outcome) => Ok(outcome?.answer),
            Err(_) => {
                let error = CallFailure::new(FailureReason::Timeout, "no answer yet; the call goes on").into();
                Err(Unanswered { error, late: Some(Late(task)) })
            }
        }
    }

    /// For a prefetch: whether an answer costs no call, or one that is within the budget.
    pub(super) async fn may_answer_within(&self, budget: &Budget, user: &UserId, input: &Input) -> bool {
        let job = Job { key: input.response_key(&self.endpoint.asking()), refresh: false };
        let is_under_way = self.running.lock().contains_key(&job);
        let costs_nothing =
            async || matches!(self.recall(&job.key).await, Ok(Recalled::Cached(_) | Recalled::Paused(_)));
        is_under_way || costs_nothing().await || budget.take_one(user)
    }

    /// The endpoint's host and the model, for reports.
    pub(super) fn detail(&self) -> String {
        format!("{} {}", self.endpoint.host(), self.endpoint.model)
    }

    #[cfg(test)]
    pub(super) fn asking(&self) -> super::input::Asking<'_> {
        self.endpoint.asking()
    }

    pub(super) fn metrics(&self) -> AiMetrics {
        self.spend.metrics()
    }

    /// Joins the task for this job, or starts it.
    fn join(self: &Arc<Self>, job: Job, user: &UserId, input: &Input) -> Task {
        let mut running = self.running.lock();
        if let Some(task) = running.get(&job) {
            self.spend.share_call();
            return task.clone();
        }
        // Order: the task cannot remove itself before it is in the map, because this function holds the lock.
        let work = run(self.clone(), job.clone(), user.clone(), input.text().to_owned());
        let span = tracing::info_span!(parent: None, "ai_call", trace_id = tracing::field::Empty);
        let task = self.tracker.spawn(work.instrument(trace::outliving(span)));
        let outcome = async move { task.await.unwrap_or(Err(SourceError::Panic)) }.boxed().shared();
        running.insert(job, outcome.clone());
        outcome
    }

    /// What is stored under a key, if the cache can be read.
    async fn recall(&self, key: &ResponseKey) -> Result<Recalled, Unreadable> {
        if !self.leases.is_in_reach() {
            return Err(Unreadable);
        }
        let now = self.clock.utc();
        match timeout(self.leases.timeout(), self.responses.find(key, now)).await {
            Ok(Ok(Some(Remembered::Answer(cached)))) => Ok(Recalled::Cached(cached)),
            Ok(Ok(Some(Remembered::Unusable(last)))) => {
                Ok(self.paused_by(&last, now).map_or(Recalled::Nothing, Recalled::Paused))
            }
            Ok(Ok(Some(Remembered::Unreadable) | None)) => Ok(Recalled::Nothing),
            failed => {
                tracing::warn!(error = ?failed.map(|found| found.err()), "AI response cache could not be read; the model is asked");
                Err(Unreadable)
            }
        }
    }
}

/// One task: look up, wait for the lease, ask, store.
async fn run(calls: Arc<ModelCalls>, job: Job, user: UserId, input: String) -> CallOutcome {
    let _leaving = Leaving { calls: &calls, job: &job };
    let began = calls.clock.now();
    let way = if job.refresh { Way::Ask(None) } else { calls.way(&job.key).await? };
    let lease = match way {
        Way::Ask(lease) => lease,
        Way::Cached(cached) => {
            calls.spend.avoid_call();
            return Ok(Answered { answer: Arc::new(cached), kept: true });
        }
    };
    let fresh = match calls.fresh(&job.key, &input).await {
        Ok(fresh) => fresh,
        Err((error, failure)) => {
            if let Some(failure) = failure {
                // Order: an instance that hears of the failure, or gets the lease after it, finds it remembered.
                calls.note_unusable(&user, began, &job.key, &failure).await;
                calls.tell(lease, &failure);
            }
            // Logged here, because the callers may have left. The failures that opened the circuit are logged; each
            // refused call would repeat them.
            if !matches!(error, SourceError::BreakerOpen) {
                tracing::warn!(error = &error as &dyn std::error::Error, "AI endpoint gave no answer");
            }
            return Err(error);
        }
    };
    let erased = calls.erased.read().await;
    if was_erased(&erased, &user, began) || !calls.leases.is_in_reach() {
        return Ok(Answered { answer: Arc::new(fresh), kept: false });
    }
    let kept = if job.refresh {
        calls.responses.overwrite(&user, fresh.clone()).await
    } else {
        calls.responses.keep(&user, fresh.clone()).await
    };
    // Order: after it is stored. An instance that erases the user first appends that to the log, then deletes what is
    // stored: either it deletes this response, or the log tells it here.
    let is_outdated = kept.is_ok() && calls.forget_if_erased(&user, began, &job.key).await;
    // Order: an instance that sees the lease released finds the response.
    drop(lease);
    Ok(match kept {
        Ok(answer) if is_outdated => Answered { answer: Arc::new(answer), kept: false },
        Ok(answer) => Answered { answer: Arc::new(answer), kept: true },
        Err(error) => {
            tracing::warn!(%error, "AI response could not be stored; the next request asks the model again");
            Answered { answer: Arc::new(fresh), kept: false }
        }
    })
}

fn was_erased(erased: &[(UserId, Moment)], user: &UserId, began: Moment) -> bool {
    erased.iter().any(|(other, at)| other == user && *at >= began)
}

/// Removes a task from the map when it ends, also by a panic.
struct Leaving<'a> {
    calls: &'a ModelCalls,
    job: &'a Job,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.calls.running.lock().remove(self.job);
    }
}
