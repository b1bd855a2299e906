//! AI_ANALYSIS: a strategic analysis of onboarding and strategy, by one of two generators.
//!
//! Without an endpoint, fixed rules make it. With one, the model makes it, and if the model fails, the section fails
//! with a reason: the rules never stand in for the model. A response is a function of the input, so it is cached under
//! the input's hash for all users with the same input. The input holds no dates, ids or analytics, which change without
//! meaning.
//!
//! The source's guard is around the generator only: the rules, or one call to the endpoint until it ends. Cached
//! responses are returned whatever the endpoint's state.
//!
//! `rules` and `input` read the `subject`; `calls` decides between response cache and call; `endpoint` makes one call;
//! `reply` and `answer` check the response against one table, `shape`.

mod answer;
mod budget;
mod calls;
mod content;
mod endpoint;
mod erasures;
mod failure;
mod input;
mod object;
mod prompt;
mod refusal;
pub(crate) mod reply;
mod response_cache;
mod rules;
mod sample;
mod shape;
mod spend;
mod stream;
mod subject;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

pub use self::{
    budget::Budget,
    calls::{Late, Unanswered},
    endpoint::AiConfigError,
    erasures::Erasures,
    response_cache::ResponseCache,
    sample::{SampleError, ask_sample},
    spend::AiMetrics,
};
use self::{calls::ModelCalls, endpoint::AiEndpoint, input::Input, subject::Subject};
use super::{
    SourceError,
    guard::Guard,
    rows::{Onboarding, Strategy},
};
use crate::{
    clock::Clock,
    config,
    lease::Leases,
    model::{Generator, UserId},
    proto::v1::{AiAnalysisResults, StrategyKind},
    sync::TaskTracker,
};

/// Time limit of the rules, which take less than a millisecond.
const RULES_LIMIT: Duration = Duration::from_secs(1);

/// The source of the AI analysis. Cloning shares it.
#[derive(Clone, Debug)]
pub struct AiAnalysis {
    guard: Arc<Guard>,
    /// None: the rules are used.
    model: Option<Arc<ModelCalls>>,
}

/// A request for an analysis.
#[derive(Clone, Copy, Debug)]
pub struct AnalysisRequest<'a> {
    /// Stored beside a cached response, so that it can be erased; never sent to the endpoint.
    pub user: &'a UserId,
    /// The start of the assembly.
    pub as_of: DateTime<Utc>,
    pub onboarding: &'a Onboarding,
    pub strategy: Option<&'a Strategy>,
    /// Whether a cached response is to be replaced.
    pub refresh: bool,
    /// The caller waits until this instant at most.
    pub until: Instant,
    /// Set for a prefetch: a call is made only within this budget.
    pub calls: Option<&'a Budget>,
}

/// An analysis and its generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// None: the input is empty.
    pub results: Option<AiAnalysisResults>,
    pub generator: Generator,
    /// For the section's report: the endpoint's host and the model; empty for the rules.
    pub detail: String,
}

impl AiAnalysis {
    /// Chooses the generator: the model if an endpoint is configured, else the rules.
    /// Calls run under `guard` as tasks of `tracker`, one for all instances that share `leases`, and fill `responses`.
    pub fn new(
        config: &config::AiSettings,
        guard: Guard,
        responses: ResponseCache,
        leases: Arc<Leases>,
        clock: Clock,
        tracker: TaskTracker,
    ) -> Result<Self, AiConfigError> {
        let guard = Arc::new(guard);
        let Some(base_url) = &config.base_url else { return Ok(Self { guard, model: None }) };
        let endpoint = AiEndpoint::new(config, base_url)?;
        let calls = ModelCalls::new(config, endpoint, Arc::clone(&guard), responses, leases, clock, tracker);
        Ok(Self { guard, model: Some(Arc::new(calls)) })
    }

    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether an analysis may cost a call.
    #[must_use]
    pub fn asks_a_model(&self) -> bool {
        self.model.is_some()
    }

    /// The analysis of one user and strategy.
    ///
    /// With a model, this waits until the soft timeout or `until`. The call itself goes on until the hard timeout, and
    /// its response is cached all the same; [`Unanswered::late`] waits for it.
    pub async fn analyse(&self, request: AnalysisRequest<'_>) -> Result<Analysis, Unanswered> {
        let subject = Subject::new(request.onboarding, request.strategy);
        let Some(calls) = &self.model else {
            let limit = RULES_LIMIT.min(request.until.saturating_duration_since(Instant::now()));
            let mut results = self.guard.run(limit, async { Ok(rules::analyse(&subject)) }).await.result?;
            results.analysis_date = Some(request.as_of.into());
            return Ok(Analysis {
                results: Some(of_strategy(results, request.strategy)),
                generator: Generator::Rules,
                detail: String::new(),
            });
        };
        let results = match Input::new(&subject) {
            None => None,
            Some(input) => {
                if let Some(budget) = request.calls
                    && !calls.may_answer_within(budget, request.user, &input).await
                {
                    return Err(SourceError::BudgetExceeded.into());
                }
                let answer = calls.answer(request.user, &input, request.refresh, request.until).await?;
                Some(of_strategy(answer.results(), request.strategy))
            }
        };
        Ok(Analysis { results, generator: Generator::Model, detail: calls.detail() })
    }

    /// From now on no response of a user is remembered whom another instance has erased meanwhile.
    pub fn heed(&self, erasures: Arc<dyn Erasures>) {
        if let Some(calls) = &self.model {
            calls.heed(erasures);
        }
    }

    /// Called before a user's responses are deleted: calls under way will not store theirs.
    pub async fn forget(&self, user: &UserId) {
        if let Some(calls) = &self.model {
            calls.forget(user).await;
        }
    }

    /// Deletes at most `rows_max` responses that have been unused for long. Returns their number.
    pub async fn sweep_responses(&self, rows_max: u64) -> Result<u64, sea_orm::DbErr> {
        match &self.model {
            Some(calls) => calls.sweep_responses(rows_max).await,
            None => Ok(0),
        }
    }

    /// Calls and tokens since the start; all 0 for the rules.
    #[must_use]
    pub fn metrics(&self) -> AiMetrics {
        self.model.as_ref().map(|calls| calls.metrics()).unwrap_or_default()
    }
}

/// Adds the strategy that was analysed.
fn of_strategy(mut results: AiAnalysisResults, strategy: Option<&Strategy>) -> AiAnalysisResults {
    let resolved = strategy.map(|strategy| strategy.resolved);
    results.set_strategy_kind(resolved.map_or(StrategyKind::Unspecified, |resolved| resolved.kind));
    results.strategy_id = resolved.map(|resolved| resolved.id.into());
    results
}
