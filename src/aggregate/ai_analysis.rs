//! AI_ANALYSIS: a strategic analysis of what onboarding and strategy say, by one of two generators.
//!
//! Without an endpoint fixed rules make it; with one, the model does, and if the model fails the
//! section fails with a reason: the rules never stand in for it. The model's answer is a function of
//! its input, so it is remembered under the input's hash for every user with the same input, and
//! nothing that changes without meaning (dates, ids, analytics) is part of that input.
//!
//! What the source's guard watches over is the making: the rules, or one call to the endpoint, to its
//! end. What is remembered is handed out without it: a response cache is there whatever the endpoint's state.
//!
//! `rules` and `input` read the `subject`; `calls` decides between memo and call; `endpoint` makes one
//! call; `reply` and `answer` check what came back against one table, `shape`.

mod answer;
mod budget;
mod calls;
mod endpoint;
mod failure;
mod input;
mod response_cache;
mod prompt;
mod reply;
mod rules;
mod shape;
mod spend;
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
    response_cache::ResponseCache,
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

/// For the rules, which take less than a millisecond: none waits that long for its turn.
const RULES_LIMIT: Duration = Duration::from_secs(1);

/// The source of the AI analysis. Cloning shares it.
#[derive(Clone, Debug)]
pub struct AiAnalysis {
    guard: Arc<Guard>,
    /// None: the rules.
    model: Option<Arc<ModelCalls>>,
}

/// What an analysis is asked of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose it is; kept beside a remembered answer for erasure, never sent.
    pub user: &'a UserId,
    /// The assembly's time.
    pub as_of: DateTime<Utc>,
    /// What onboarding found.
    pub onboarding: &'a Onboarding,
    /// The resolved strategy, if there is one.
    pub strategy: Option<&'a Strategy>,
    /// Whether a new answer is wanted though one is remembered.
    pub refresh: bool,
    /// Nobody waits any longer than this.
    pub until: Instant,
    /// Nobody waits at all: a call is made only within this.
    pub calls: Option<&'a Budget>,
}

/// An analysis and who made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// None: there is nothing that a model could be asked about.
    pub results: Option<AiAnalysisResults>,
    /// Who made it.
    pub generator: Generator,
    /// For the section's report: the endpoint's host and the model; empty for the rules.
    pub detail: String,
}

impl AiAnalysis {
    /// Chooses the generator: the model if an endpoint is configured, else the rules.
    /// ModelCalls run under `guard` as tasks of `tracker`, one for all instances that share `leases`, and
    /// answers are kept in `memo`.
    pub fn new(
        config: &config::Ai,
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

    /// What watches over it.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether an answer may cost a call.
    #[must_use]
    pub fn asks_a_model(&self) -> bool {
        self.model.is_some()
    }

    /// The analysis of one user and strategy.
    ///
    /// With a model this waits until the soft timeout, or `until`; the call itself goes on until the
    /// hard one and is remembered all the same. [`Unanswered::late`] tells when.
    pub async fn analyse(&self, request: Request<'_>) -> Result<Analysis, Unanswered> {
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
                    return Err(SourceError::Withheld.into());
                }
                let answer = calls.answer(request.user, &input, request.refresh, request.until).await?;
                Some(of_strategy(answer.results(), request.strategy))
            }
        };
        Ok(Analysis { results, generator: Generator::Model, detail: calls.detail() })
    }

    /// Before a user's answers are deleted: calls that are under way will leave none behind.
    pub async fn forget(&self, user: &UserId) {
        if let Some(calls) = &self.model {
            calls.forget(user).await;
        }
    }

    /// Forgets answers that nobody has used for long; at most `rows_max` at once. Returns how many.
    pub async fn sweep_responses(&self, rows_max: u64) -> Result<u64, sea_orm::DbErr> {
        match &self.model {
            Some(calls) => calls.sweep_responses(rows_max).await,
            None => Ok(0),
        }
    }

    /// What the model has cost and saved since the start; all 0 for the rules.
    #[must_use]
    pub fn metrics(&self) -> AiMetrics {
        self.model.as_ref().map(|calls| calls.metrics()).unwrap_or_default()
    }
}

/// Names the strategy that was analysed.
fn of_strategy(mut results: AiAnalysisResults, strategy: Option<&Strategy>) -> AiAnalysisResults {
    let resolved = strategy.map(|strategy| strategy.resolved);
    results.set_strategy_kind(resolved.map_or(StrategyKind::Unspecified, |resolved| resolved.kind));
    results.strategy_id = resolved.map(|resolved| resolved.id.into());
    results
}
