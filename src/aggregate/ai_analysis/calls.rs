//! Between a question and the model: the response cache first, then one call, however many ask.
//!
//! Look-up, call and writing to the response cache are one task of the app's tracker. Those who ask wait for
//! it until their soft timeout; the task goes on to the hard one, because an answer that is paid for
//! is worth keeping. A response cache that fails costs a call and never an answer. Of all instances, one asks:
//! [`once`].
//!
//! The source's guard is around the call alone. A breaker that is open refuses no remembered answer,
//! and a call that is slow but answers is no failure, though those who asked have left.

mod once;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::RwLock,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::Instrument;

use super::{
    budget::Budget,
    endpoint::AiEndpoint,
    failure::{CallFailure, FailureReason},
    input::{Input, ResponseKey},
    prompt::PROMPT_VERSION,
    reply::ModelReply,
    response_cache::{CachedResponse, ResponseCache},
    spend::{AiMetrics, Spend},
};
use crate::{
    aggregate::{SourceError, guard::Guard},
    clock::{Clock, Moment},
    config,
    lease::{Lease, Leases},
    model::UserId,
    sync::{Mutex, MutexGuard, TaskTracker},
    telemetry::trace,
};

type CallOutcome = Result<Answered, SourceError>;
/// A task as those who wait for it have it.
type Task = Shared<BoxFuture<'static, CallOutcome>>;

/// An answer, and what has become of it.
#[derive(Clone, Debug)]
struct Answered {
    answer: Arc<CachedResponse>,
    /// Whether it is in the response cache.
    kept: bool,
}

/// An answer that those who asked did not wait for. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Late(Task);

impl Late {
    /// Waits for the call's end, at most about twice its hard timeout; whether the answer came and is
    /// remembered now, for the next one who asks.
    pub async fn is_remembered(self) -> bool {
        self.0.await.is_ok_and(|answered| answered.kept)
    }
}

/// Why there is no analysis.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// How it failed.
    pub error: SourceError,
    /// The call that goes on, if it is only its answer that has not come yet.
    pub late: Option<Late>,
}

impl From<SourceError> for Unanswered {
    fn from(error: SourceError) -> Self {
        Self { error, late: None }
    }
}

/// The model and all that keeps it from being called.
#[derive(Debug)]
pub(super) struct ModelCalls {
    endpoint: AiEndpoint,
    guard: Arc<Guard>,
    responses: ResponseCache,
    leases: Arc<Leases>,
    /// Tells this instance's word from another's.
    instance: String,
    clock: Clock,
    tracker: TaskTracker,
    soft_timeout: Duration,
    hard_timeout: Duration,
    spend: Spend,
    /// Tasks under way; each removes itself when it ends. Bounded by the loads that wait for one
    /// and, beyond them, by the loads that can come and go within the hard timeout.
    running: Mutex<HashMap<Job, Task>>,
    /// Users erased lately, and when: what was asked about them before is not remembered. Held for
    /// reading while an answer is written, so that none is on its way when an erasure begins.
    erased: RwLock<Vec<(UserId, Moment)>>,
}

/// What a task is for. A refresh joins no task that would be content with the response cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Job {
    key: ResponseKey,
    refresh: bool,
}

/// The response cache could not be read: its database is of no help, for a lease neither.
#[derive(Clone, Copy, Debug)]
struct Unreadable;

/// Where an answer is to come from.
#[derive(Debug)]
pub(super) enum Way {
    /// It is there.
    Cached(CachedResponse),
    /// From a call of this instance; for all who wait for the lease, if it has one.
    Ask(Option<Lease>),
}

impl ModelCalls {
    pub(super) fn new(
        config: &config::Ai,
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
            running: Mutex::default(),
            erased: RwLock::default(),
        }
    }

    /// Forgets what nobody has used for long.
    pub(super) async fn sweep_responses(&self, rows_max: u64) -> Result<u64, sea_orm::DbErr> {
        self.responses.sweep(self.clock.utc(), rows_max).await
    }

    /// From now on nothing is remembered that was asked about this user before. What has been
    /// remembered can be deleted afterwards.
    pub(super) async fn forget(&self, user: &UserId) {
        let now = self.clock.now();
        let mut erased = self.erased.write().await;
        // Waiting for another instance's call and a call of one's own each end at the hard timeout;
        // the third one is for the look-ups around them.
        erased.retain(|(other, at)| other != user && now.since(*at) < 3 * self.hard_timeout);
        erased.push((user.clone(), now));
    }

    /// The answer to an input, from the response cache or from the model, if it comes before the soft timeout
    /// and before `until`.
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

    /// Whether an answer that nobody waits for costs no call, or one that the budget has.
    pub(super) async fn may_answer_within(&self, budget: &Budget, user: &UserId, input: &Input) -> bool {
        let job = Job { key: input.response_key(&self.endpoint.asking()), refresh: false };
        let is_under_way = self.running().contains_key(&job);
        is_under_way || matches!(self.recall(&job.key).await, Ok(Some(_))) || budget.take_one(user)
    }

    /// The provider and the model, for reports.
    pub(super) fn detail(&self) -> String {
        format!("{} {}", self.endpoint.host(), self.endpoint.model)
    }

    /// How the model is asked.
    #[cfg(test)]
    pub(super) fn asking(&self) -> super::input::Asking<'_> {
        self.endpoint.asking()
    }

    pub(super) fn metrics(&self) -> AiMetrics {
        self.spend.metrics()
    }

    /// Joins the task that is under way for the same job, or starts it.
    fn join(self: &Arc<Self>, job: Job, user: &UserId, input: &Input) -> Task {
        let mut running = self.running();
        if let Some(task) = running.get(&job) {
            self.spend.share_call();
            return task.clone();
        }
        // Order: the task cannot remove itself before it is in the map, because the lock is held.
        let work = run(self.clone(), job.clone(), user.clone(), input.text().to_owned());
        let span = tracing::info_span!(parent: None, "ai_call", trace_id = tracing::field::Empty);
        let task = self.tracker.spawn(work.instrument(trace::outliving(span)));
        let outcome = async move { task.await.unwrap_or(Err(SourceError::Panic)) }.boxed().shared();
        running.insert(job, outcome.clone());
        outcome
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Job, Task>> {
        self.running.lock()
    }

    /// The remembered answer, if the response cache can be read.
    async fn recall(&self, key: &ResponseKey) -> Result<Option<CachedResponse>, Unreadable> {
        if !self.leases.is_in_reach() {
            return Err(Unreadable);
        }
        match timeout(self.leases.timeout(), self.responses.find(key, self.clock.utc())).await {
            Ok(Ok(remembered)) => Ok(remembered),
            failed => {
                tracing::warn!(error = ?failed.map(|found| found.err()), "the AI response cache could not be read");
                Err(Unreadable)
            }
        }
    }

    /// Asks the model, at most twice and at most until `give_up`.
    async fn ask(&self, input: &str, give_up: Instant) -> Result<ModelReply, CallFailure> {
        let asked = timeout_at(give_up, async {
            let Some(first) = self.ask_once(input).await else {
                return Err(CallFailure::new(FailureReason::Budget, "this minute's calls are spent"));
            };
            let failure = match first {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            // A second try that could not end in time would only hide why the first one failed.
            let Some(pause) = failure.retry_after.filter(|pause| Instant::now() + *pause < give_up) else {
                return Err(failure);
            };
            sleep(pause).await;
            self.ask_once(input).await.unwrap_or(Err(failure))
        });
        asked
            .await
            .unwrap_or_else(|_| Err(CallFailure::new(FailureReason::Timeout, "no answer until the hard timeout")))
    }

    /// One call; none if there are none left.
    async fn ask_once(&self, input: &str) -> Option<Result<ModelReply, CallFailure>> {
        let call = self.spend.begin_call()?;
        let reply = self.endpoint.ask(input).await;
        call.end(&self.spend, &reply);
        Some(reply)
    }

    /// A new answer, unless the endpoint is left alone. If the call itself fails, those who wait for
    /// the lease are told.
    async fn fresh(
        &self,
        key: ResponseKey,
        input: &str,
        lease: &mut Option<Lease>,
    ) -> Result<CachedResponse, SourceError> {
        // Waiting for a permit counts: who waits for one longer than a call may take gets none.
        let give_up = Instant::now() + self.hard_timeout;
        let made = async {
            let made = self.make(key, input, give_up).await;
            Ok(made.inspect_err(|failure| self.tell(lease.take(), failure))?)
        };
        match self.guard.run(self.hard_timeout, made).await.result {
            Err(SourceError::Timeout) => {
                Err(CallFailure::new(FailureReason::Timeout, "too many calls under way").into())
            }
            result => result,
        }
    }

    /// Asks the model and checks what it says.
    async fn make(&self, key: ResponseKey, input: &str, give_up: Instant) -> Result<CachedResponse, CallFailure> {
        let reply = self.ask(input, give_up).await?;
        let usage = reply.usage();
        self.spend.count_tokens(usage);
        Ok(CachedResponse {
            key,
            answer: reply.answer()?,
            model: reply.model().unwrap_or_else(|| self.endpoint.model.clone()),
            prompt_version: PROMPT_VERSION.to_owned(),
            usage,
            created_at: self.clock.utc(),
        })
    }
}

/// One task: look up, wait for its turn, ask, remember.
async fn run(calls: Arc<ModelCalls>, job: Job, user: UserId, input: String) -> CallOutcome {
    let _leaving = Leaving { calls: &calls, job: &job };
    let began = calls.clock.now();
    let way = if job.refresh { Way::Ask(None) } else { calls.way(&job.key).await? };
    let mut lease = match way {
        Way::Ask(lease) => lease,
        Way::Cached(remembered) => {
            calls.spend.avoid_call();
            return Ok(Answered { answer: Arc::new(remembered), kept: true });
        }
    };
    let fresh = calls.fresh(job.key.clone(), &input, &mut lease).await.inspect_err(|error| match error {
        // SharedFailure when it failed; every call refused meanwhile would say the same.
        SourceError::BreakerOpen => {}
        // Said here because those who asked may be gone.
        _ => tracing::warn!(error = error as &dyn std::error::Error, "the AI endpoint gave no answer"),
    })?;
    let erased = calls.erased.read().await;
    let was_erased = erased.iter().any(|(other, at)| *other == user && *at >= began);
    if was_erased || !calls.leases.is_in_reach() {
        return Ok(Answered { answer: Arc::new(fresh), kept: false });
    }
    let kept = if job.refresh {
        calls.responses.overwrite(&user, fresh.clone()).await
    } else {
        calls.responses.keep(&user, fresh.clone()).await
    };
    // Order: whoever sees it go finds the answer.
    drop(lease);
    Ok(match kept {
        Ok(answer) => Answered { answer: Arc::new(answer), kept: true },
        Err(error) => {
            tracing::warn!(%error, "an AI answer could not be remembered");
            Answered { answer: Arc::new(fresh), kept: false }
        }
    })
}

/// Takes a task out of the map when it ends, also by a panic.
struct Leaving<'a> {
    calls: &'a ModelCalls,
    job: &'a Job,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.calls.running().remove(self.job);
    }
}
