//! The sources, each behind its guard, and the metrics of their runs.

use std::time::Duration;

use super::{
    AggregateError,
    ai_analysis::AiAnalysis,
    guard::Guard,
    open::{OpenSources, SourcePlace},
};
use crate::{clock::Clock, config, model::UserId, proto::v1::SourceStats, telemetry::Meter, user_files::UserFiles};

/// The five sources, each behind its guard; the AI analysis has its own.
#[derive(Debug)]
pub struct Aggregator {
    pub(super) sources: SourcePlace,
    pub(super) ai: AiAnalysis,
    pub(super) clock: Clock,
    pub(super) soft_timeout: Duration,
    pub(super) hard_timeout: Duration,
    pub(super) onboarding: Guard,
    pub(super) strategy: Guard,
    pub(super) gap_analysis: Guard,
    pub(super) performance: Guard,
    /// The performance source's second section, with a statement, limits and metrics of its own.
    pub(super) recommendations: Guard,
}

impl Aggregator {
    #[must_use]
    pub fn new(
        sources: impl Into<SourcePlace>,
        ai: AiAnalysis,
        config: &config::SourcesSettings,
        clock: Clock,
    ) -> Self {
        let sources = sources.into();
        let mut limits = config.clone();
        if sources.files().is_some() {
            // A broken file is the fault of no other user's.
            limits.breaker_failures = u32::MAX;
        }
        let config = &limits;
        let guard = |name, limits| Guard::new(name, limits, clock.clone());
        let optional = optional_limits(config);
        Self {
            onboarding: guard("onboarding", config),
            strategy: guard("strategy", config),
            gap_analysis: guard("gap_analysis", &optional),
            performance: guard("performance", &optional),
            recommendations: guard("recommendations", &optional),
            sources,
            ai,
            soft_timeout: config.soft_timeout,
            hard_timeout: config.hard_timeout,
            clock,
        }
    }

    /// Records each source's runs. The AI analysis's guard records its own already.
    #[must_use]
    pub fn with_metrics(self, meter: &Meter) -> Self {
        Self {
            onboarding: self.onboarding.with_metrics(meter),
            strategy: self.strategy.with_metrics(meter),
            gap_analysis: self.gap_analysis.with_metrics(meter),
            performance: self.performance.with_metrics(meter),
            recommendations: self.recommendations.with_metrics(meter),
            ..self
        }
    }

    /// Opens what a user's sections are read from.
    pub async fn open(&self, user: &UserId) -> Result<OpenSources, AggregateError> {
        let opened = self.sources.open(user, self.hard_timeout).await;
        // Onboarding is the first source that reads.
        opened.map_err(|error| AggregateError::Source { name: self.onboarding.name(), error })
    }

    /// The users' files, if each user has one.
    #[must_use]
    pub fn user_files(&self) -> Option<&UserFiles> {
        self.sources.files()
    }

    /// In a fixed order.
    #[must_use]
    pub fn stats(&self) -> Vec<SourceStats> {
        self.guards().map(Guard::stats).collect()
    }

    /// Each source's name, the number of its runs under way, and the state of its circuit breaker.
    pub fn levels(&self) -> impl Iterator<Item = (&'static str, i32, &'static str)> {
        self.guards().map(Guard::levels)
    }

    fn guards(&self) -> impl Iterator<Item = &Guard> {
        let made = [self.ai.guard(), &self.gap_analysis];
        let read = [&self.performance, &self.recommendations];
        [&self.onboarding, &self.strategy].into_iter().chain(made).chain(read)
    }

    /// The AI analysis, for its metrics and the sweep of its response cache.
    #[must_use]
    pub fn ai(&self) -> &AiAnalysis {
        &self.ai
    }
}

/// The limits of an optional source. All sources share one pool: three of them that hang leave a quarter of it to the
/// required ones.
fn optional_limits(config: &config::SourcesSettings) -> config::SourcesSettings {
    let share = usize::try_from(config.max_connections / 4).unwrap_or(usize::MAX).max(1);
    config::SourcesSettings { max_concurrent: config.max_concurrent.min(share), ..config.clone() }
}
