//! Assembling a document from its five sources: what starts at once, what waits for what, what is
//! required, and what a failure means.
//!
//! Sources never import each other and know no cache. They share the readers ([`value`]), the way
//! to read tables ([`sql`]) and the rows that more than one of them works on ([`rows`]). What
//! depends on what is said by one async block ([`Aggregator::aggregate`]); a graph of tasks would
//! say the same with more words.

pub mod ai_analysis;
mod assembly;
pub mod derived;
pub mod gap_analysis;
pub mod guard;
pub mod onboarding;
pub mod performance;
pub mod rows;
pub mod sql;
pub mod strategy;
#[cfg(test)]
mod strategy_tables;
mod value;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::SetOnce;

use crate::{
    clock::Clock,
    config,
    model::{SectionSet, UserDataQuery, snapshot::SectionFacts},
    proto::v1::SourceStats,
    telemetry::Meter,
};
use ai_analysis::{AiAnalysis, Budget, Late};
use assembly::Assembly;
use guard::Guard;
use rows::{Onboarding, ResolvedStrategy};
use sql::SourceDatabase;

/// The five sources, each behind its guard; the AI analysis brings its own.
#[derive(Debug)]
pub struct Aggregator {
    database: SourceDatabase,
    ai: AiAnalysis,
    clock: Clock,
    soft_timeout: Duration,
    hard_timeout: Duration,
    onboarding: Guard,
    strategy: Guard,
    gap_analysis: Guard,
    performance: Guard,
    /// The performance source's second section: its own statement, limits and figures.
    recommendations: Guard,
}

/// What is to be assembled, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sections wanted. What they are made from is read too, but yields no part.
    pub sections: SectionSet,
    /// The instant that windows and ages are counted from, taken once for all sources.
    pub as_of: DateTime<Utc>,
    /// The caller wants nothing remembered: the AI memo is not looked up.
    pub refresh: bool,
    /// How long the whole may take: what is optional and not there half a second before is left out.
    pub budget: Duration,
    /// The onboarding rows, if they are known and not outdated: other sections are made from them without reading
    /// them again. Left aside if the onboarding section itself is wanted.
    pub onboarding: Option<Arc<Onboarding>>,
    /// Nobody waits for it, so that it may cost AI calls only within this.
    pub ai_calls: Option<Arc<Budget>>,
}

/// What was assembled.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// One part per section wanted, in no particular order.
    pub parts: Vec<AssembledPart>,
    /// Which strategy the sections are about; none: the user has none.
    pub strategy: Option<ResolvedStrategy>,
    /// The AI analysis FAILED only because its call takes long: when to assemble it again.
    pub late: Option<Late>,
}

/// One section, fresh from its source.
#[derive(Clone, Debug)]
pub struct AssembledPart {
    /// How it came about: OK, NOT_FOUND or FAILED.
    pub facts: SectionFacts,
    /// A `ComprehensiveUserData` that has only this section's fields, encoded; empty if it FAILED.
    pub bytes: Bytes,
    /// What other sections are made from too, to be kept beside it; empty if nothing is.
    pub rows: Bytes,
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

    /// Reads the sections of `plan` for the user of `query`. Optional sections fail by themselves;
    /// a required source that fails, an unknown user or an unknown strategy fail the call, at once.
    pub async fn aggregate(&self, query: &UserDataQuery, plan: &Plan) -> Result<Assembled, AggregateError> {
        let assembly = Assembly::new(self, query, plan);
        // Set by the strategy source's first statement; never set if that fails, which ends the call.
        let resolved = SetOnce::new();
        let (from_both, from_resolved) = tokio::try_join!(
            async {
                let (onboarding, strategy) = tokio::try_join!(assembly.onboarding(), assembly.strategy(&resolved))?;
                assembly.check_known(onboarding.as_ref(), &resolved)?;
                let made = match (&onboarding, &strategy) {
                    (Some(onboarding), Some(strategy)) => {
                        let (ai_analysis, gap_analysis) = tokio::join!(
                            assembly.ai_analysis(onboarding, strategy),
                            assembly.gap_analysis(onboarding, strategy)
                        );
                        let (ai_analysis, late) = ai_analysis?;
                        (ai_analysis, late, gap_analysis, assembly.derived(onboarding, strategy))
                    }
                    _ => (None, None, None, None),
                };
                Ok((onboarding, strategy, made))
            },
            async {
                let resolved = *resolved.wait().await;
                Ok(tokio::join!(assembly.performance(resolved), assembly.recommendations(resolved)))
            },
        )?;

        let (onboarding, strategy, (ai_analysis, late, gap_analysis, derived)) = from_both;
        let (performance, recommendations) = from_resolved;
        let onboarding = onboarding.and_then(|loaded| assembly.onboarding_part(loaded));
        let strategy = strategy.and_then(|loaded| assembly.strategy_part(loaded));
        let parts = [onboarding, strategy, ai_analysis, gap_analysis, performance, recommendations, derived];
        let parts = parts.into_iter().flatten().collect();
        Ok(Assembled { parts, strategy: resolved.into_inner().flatten(), late })
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

    /// The AI analysis, for its own figures and its memo's upkeep.
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

/// What a source hands on: its result, and what was left out of it.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// The result.
    pub value: T,
    /// For the section's report.
    pub warnings: sql::Warnings,
}

/// Why a source could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// A statement failed.
    #[error("a statement failed")]
    Sql(#[source] Arc<sea_orm::DbErr>),
    /// It did not answer in time.
    #[error("timed out")]
    Timeout,
    /// It failed often and is left alone for a while.
    #[error("left alone after failures")]
    BreakerOpen,
    /// It panicked; only this section fails.
    #[error("panicked")]
    Panic,
    /// It would take an AI call, which is left to whoever waits for it.
    #[error("left to whoever waits for it")]
    Withheld,
    /// The AI analysis failed; the reason is one of data.md's `AI_*`.
    #[error("{reason}: {detail}")]
    Ai {
        /// `AI_TIMEOUT` and the like.
        reason: &'static str,
        /// What happened, for the log; never a body, never a key.
        detail: String,
    },
}

impl SourceError {
    /// The section report's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Sql(_) => "SQL_ERROR",
            Self::Timeout => "TIMEOUT",
            Self::BreakerOpen => "BREAKER_OPEN",
            Self::Panic => "PANIC",
            Self::Withheld => "WITHHELD",
            Self::Ai { reason, .. } => reason,
        }
    }
}

impl From<sea_orm::DbErr> for SourceError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Sql(Arc::new(error))
    }
}

#[cfg(feature = "mutants")]
impl From<crate::fault::Injected> for SourceError {
    fn from(error: crate::fault::Injected) -> Self {
        sea_orm::DbErr::from(error).into()
    }
}

/// Why no document could be assembled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AggregateError {
    /// The user is unknown: no session and no strategy.
    #[error("the user is unknown")]
    UnknownUser,
    /// The strategy asked for is not there, or is somebody else's.
    #[error("the strategy is unknown")]
    UnknownStrategy,
    /// Nobody waits for it, and it would take an AI call beyond the budget.
    #[error("an AI call is left to whoever waits for it")]
    Withheld,
    /// A required source failed.
    #[error("the source {name} failed")]
    Source {
        /// Which one.
        name: &'static str,
        /// How.
        #[source]
        error: SourceError,
    },
}
