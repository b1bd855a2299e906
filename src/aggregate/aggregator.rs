//! The sources, each behind its guard, and what is known about their runs.

use std::time::Duration;

use super::{ai_analysis::AiAnalysis, guard::Guard, sql::SourceDatabase};
use crate::{clock::Clock, config, proto::v1::SourceStats, telemetry::Meter};

/// The five sources, each behind its guard; the AI analysis brings its own.
#[derive(Debug)]
pub struct Aggregator {
    pub(super) database: SourceDatabase,
    pub(super) ai: AiAnalysis,
    pub(super) clock: Clock,
    pub(super) soft_timeout: Duration,
    pub(super) hard_timeout: Duration,
    pub(super) onboarding: Guard,
    pub(super) strategy: Guard,
    pub(super) gap_analysis: Guard,
    pub(super) performance: Guard,
    /// The performance source's second section: its own statement, limits and figures.
    pub(super) recommendations: Guard,
}

impl Aggregator {
    /// Reads from `database`, and asks `ai`.
    #[must_use]
    pub fn new(database: SourceDatabase, ai: AiAnalysis, config: &config::Sources, clock: Clock) -> Self {
        let guard = |name, limits| Guard::new(name, limits, clock.clone());
        let optional = optional_limits(config);
        Self {
            onboarding: guard("onboarding", config),
            strategy: guard("strategy", config),
            gap_analysis: guard("gap_analysis", &optional),
            performance: guard("performance", &optional),
            recommendations: guard("recommendations", &optional),
            database,
            ai,
            soft_timeout: config.soft_timeout,
            hard_timeout: config.hard_timeout,
            clock,
        }
    }

    /// The same, and each source's runs are recorded. The AI analysis brings its guard measured already.
    #[must_use]
    pub fn measured(self, meter: &Meter) -> Self {
        Self {
            onboarding: self.onboarding.measured(meter),
            strategy: self.strategy.measured(meter),
            gap_analysis: self.gap_analysis.measured(meter),
            performance: self.performance.measured(meter),
            recommendations: self.recommendations.measured(meter),
            ..self
        }
    }

    /// The sources' figures, in a fixed order.
    #[must_use]
    pub fn stats(&self) -> Vec<SourceStats> {
        self.guards().map(Guard::stats).collect()
    }

    /// Of each source its name, its runs under way, and whether it is left alone.
    pub fn levels(&self) -> impl Iterator<Item = (&'static str, i32, &'static str)> {
        self.guards().map(Guard::levels)
    }

    fn guards(&self) -> impl Iterator<Item = &Guard> {
        let made = [self.ai.guard(), &self.gap_analysis];
        let read = [&self.performance, &self.recommendations];
        [&self.onboarding, &self.strategy].into_iter().chain(made).chain(read)
    }

    /// The AI analysis, for its own figures and its response cache's upkeep.
    #[must_use]
    pub fn ai(&self) -> &AiAnalysis {
        &self.ai
    }
}

/// The limits of a source that can be done without. All sources share one pool: three of them that hang
/// leave a quarter of it to what is required.
fn optional_limits(config: &config::Sources) -> config::Sources {
    let share = usize::try_from(config.max_connections / 4).unwrap_or(usize::MAX).max(1);
    config::Sources { max_concurrent: config.max_concurrent.min(share), ..config.clone() }
}
