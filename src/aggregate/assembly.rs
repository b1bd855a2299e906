//! One assembly: runs each section's source under its guard, and turns the results into parts.
//!
//! The failure of a required source is an error. The failure of an optional section ends here: it is logged once and
//! becomes a FAILED part without bytes. No value is made up in its place.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use prost::Message as _;
use tokio::{sync::SetOnce, time::Instant};

use super::{
    aggregator::Aggregator,
    ai_analysis::{self, Late, Unanswered},
    derived,
    error::{AggregateError, SourceError},
    gap_analysis::{self, CalendarEvent, GapInput},
    guard::{Guard, Run},
    onboarding,
    open::OpenSources,
    performance,
    plan::{Assembled, AssembledPart, Plan, Read},
    rows::{Onboarding, ResolvedStrategy, Strategy},
    sql::SourceDatabase,
    strategy,
};
use crate::{
    model::{Generator, Section, State, StrategyId, UserDataQuery, UserId, snapshot::SectionFacts},
    proto::v1::{ComprehensiveUserData, GapAnalysis},
};

/// Time kept for the end of a load: sealing the document, and answering the callers that wait.
const RESERVE: Duration = Duration::from_millis(500);
/// Comparing more text than this would delay other requests on the same thread.
const BLOCKING_ABOVE_BYTES: usize = 64 * 1024;

impl Aggregator {
    /// Reads the sections of `plan` for the user of `query`. An optional section that fails affects no other; a
    /// required source that fails, an unknown user or an unknown strategy fail the call at once.
    pub async fn aggregate(&self, query: &UserDataQuery, plan: &Plan) -> Result<Assembled, AggregateError> {
        let opened = self.open(&query.user).await?;
        Box::pin(self.aggregate_from(&opened, query, plan)).await
    }

    /// The same, from what [`Self::open`] has opened for the user.
    pub async fn aggregate_from(
        &self,
        opened: &OpenSources,
        query: &UserDataQuery,
        plan: &Plan,
    ) -> Result<Assembled, AggregateError> {
        let database = opened.database.as_ref().ok_or(AggregateError::UnknownUser)?;
        let assembly = Assembly::new(self, database, query, plan);
        // The strategy source's first statement sets it. If that fails, it is never set, and the call ends.
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
}

/// One call of the aggregator.
pub(super) struct Assembly<'a> {
    sources: &'a Aggregator,
    database: &'a SourceDatabase,
    user: &'a UserId,
    asked: Option<StrategyId>,
    plan: &'a Plan,
    /// Optional sections are waited for until this instant.
    deadline: Instant,
}

/// A required source's rows, shared by the sections made from them.
pub(super) struct SourceRows<T> {
    value: T,
    warnings: Vec<String>,
    took: Duration,
}

pub(super) type OnboardingRead = SourceRows<Arc<Onboarding>>;
/// The inner value is absent if the user has no strategy.
pub(super) type StrategyRead = SourceRows<Option<Arc<Strategy>>>;

/// A source's result for one section.
struct SourceAnswer {
    found: bool,
    reason: &'static str,
    warnings: Vec<String>,
    document: ComprehensiveUserData,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(
        sources: &'a Aggregator,
        database: &'a SourceDatabase,
        query: &'a UserDataQuery,
        plan: &'a Plan,
    ) -> Self {
        let deadline = Instant::now() + plan.budget.saturating_sub(RESERVE);
        Self { sources, database, user: &query.user, asked: query.strategy, plan, deadline }
    }

    /// The onboarding rows, if a section needs them. They are read unless the plan has them.
    pub(super) async fn onboarding(&self) -> Result<Option<OnboardingRead>, AggregateError> {
        if !self.wants_any(&[Section::Onboarding, Section::AiAnalysis, Section::GapAnalysis, Section::Derived]) {
            return Ok(None);
        }
        if let Some(known) = self.plan.onboarding.as_ref().filter(|_| !self.wants(Section::Onboarding)) {
            return Ok(Some(SourceRows { value: Arc::clone(known), warnings: Vec::new(), took: Duration::ZERO }));
        }
        let work = onboarding::read(self.database, self.user);
        let (read, took) = self.required(&self.sources.onboarding, work).await?;
        Ok(Some(SourceRows::new(read, took, Arc::new)))
    }

    /// The strategy's rows, if a section needs them. In any case `resolved` is set to the strategy that is meant,
    /// before the rest is read.
    pub(super) async fn strategy(
        &self,
        resolved: &SetOnce<Option<ResolvedStrategy>>,
    ) -> Result<Option<StrategyRead>, AggregateError> {
        let rest_wanted =
            self.wants_any(&[Section::Strategy, Section::AiAnalysis, Section::GapAnalysis, Section::Derived]);
        let work = async {
            let resolution = strategy::resolve(self.database, self.user, self.asked).await?;
            let found = resolution.resolved();
            if found.is_none() && self.asked.is_some() {
                return Ok(None);
            }
            // Set only here, once.
            let _ = resolved.set(found);
            if rest_wanted { resolution.read().await.map(Some) } else { Ok(None) }
        };
        // On the heap, because the future is large.
        let (read, took) = self.required(&self.sources.strategy, Box::pin(work)).await?;
        if !resolved.initialized() {
            return Err(AggregateError::UnknownStrategy);
        }
        Ok(read.map(|read| SourceRows::new(read, took, |strategy| strategy.map(Arc::new))))
    }

    /// A user without session and without strategy is unknown. Without onboarding rows this is not checked: such a plan
    /// reads sections of a known user again.
    pub(super) fn check_known(
        &self,
        onboarding: Option<&OnboardingRead>,
        resolved: &SetOnce<Option<ResolvedStrategy>>,
    ) -> Result<(), AggregateError> {
        let has_strategy = resolved.get().is_some_and(Option::is_some);
        match onboarding {
            Some(onboarding) if !onboarding.value.session && !has_strategy => Err(AggregateError::UnknownUser),
            _ => Ok(()),
        }
    }

    pub(super) fn onboarding_part(&self, loaded: OnboardingRead) -> Option<AssembledPart> {
        if !self.wants(Section::Onboarding) {
            return None;
        }
        let document = onboarding::document(&loaded.value.data);
        let answer = SourceAnswer::new(loaded.value.found, loaded.warnings, document);
        let part = self.answered(Section::Onboarding, answer, loaded.took);
        Some(AssembledPart { rows: onboarding::keep(&loaded.value), ..part })
    }

    pub(super) fn strategy_part(&self, loaded: StrategyRead) -> Option<AssembledPart> {
        if !self.wants(Section::Strategy) {
            return None;
        }
        let document = strategy::document(loaded.value.as_deref());
        let answer = SourceAnswer::new(loaded.value.is_some(), loaded.warnings, document);
        Some(self.answered(Section::Strategy, answer, loaded.took))
    }

    pub(super) fn derived(&self, onboarding: &OnboardingRead, strategy: &StrategyRead) -> Option<AssembledPart> {
        if !self.wants(Section::Derived) {
            return None;
        }
        let begun = self.sources.clock.now();
        let strategy = strategy.value.as_ref().map(|strategy| &strategy.data);
        let document = derived::derive(self.user, &onboarding.value, strategy);
        let took = self.sources.clock.now().since(begun);
        Some(self.answered(Section::Derived, SourceAnswer::new(true, Vec::new(), document), took))
    }

    /// The AI analysis has a soft timeout of its own, after which its call goes on and fills the response cache. A
    /// prefetch whose AI budget is used up ends here: storing a document without the analysis would be worse than
    /// storing none.
    pub(super) async fn ai_analysis(
        &self,
        onboarding: &OnboardingRead,
        strategy: &StrategyRead,
    ) -> Result<(Option<AssembledPart>, Option<Late>), AggregateError> {
        if !self.wants(Section::AiAnalysis) {
            return Ok((None, None));
        }
        let request = ai_analysis::AnalysisRequest {
            user: self.user,
            as_of: self.plan.as_of,
            onboarding: &onboarding.value,
            strategy: strategy.value.as_deref(),
            refresh: self.plan.refresh,
            until: self.deadline,
            calls: self.plan.ai_calls.as_deref(),
        };
        let begun = self.sources.clock.now();
        // The guard is around the generator only; a panic before it costs one section, too.
        let analysing = AssertUnwindSafe(self.sources.ai.analyse(request)).catch_unwind();
        let result = analysing.await.unwrap_or_else(|_panic| Err(SourceError::Panic.into()));
        let took = self.sources.clock.now().since(begun);
        let analysis = match result {
            Ok(analysis) => analysis,
            Err(Unanswered { error: SourceError::BudgetExceeded, .. }) => return Err(AggregateError::BudgetExceeded),
            Err(Unanswered { error, late }) => {
                return Ok((Some(self.failed(Section::AiAnalysis, &error, took)), late));
            }
        };
        let found = analysis.results.is_some();
        let document = ComprehensiveUserData { ai_analysis_results: analysis.results, ..Default::default() };
        let mut part = self.answered(Section::AiAnalysis, SourceAnswer::new(found, Vec::new(), document), took);
        part.facts.generator = analysis.generator;
        part.facts.detail = analysis.detail;
        Ok((Some(part), None))
    }

    pub(super) async fn gap_analysis(
        &self,
        onboarding: &OnboardingRead,
        strategy: &StrategyRead,
    ) -> Option<AssembledPart> {
        let work = async {
            let resolved = strategy.value.as_ref().map(|strategy| strategy.resolved);
            let Read { value: events, warnings } = gap_analysis::events(self.database, self.user, resolved).await?;
            let analysis = compare(Arc::clone(&onboarding.value), strategy.value.clone(), events).await?;
            let reason = gap_analysis::reason(&analysis).unwrap_or_default();
            let document = ComprehensiveUserData { gap_analysis: Some(analysis), ..Default::default() };
            Ok(SourceAnswer { reason, ..SourceAnswer::new(true, warnings.into_vec(), document) })
        };
        self.optional(Section::GapAnalysis, &self.sources.gap_analysis, work).await
    }

    pub(super) async fn performance(&self, resolved: Option<ResolvedStrategy>) -> Option<AssembledPart> {
        let work = async {
            let Read { value, warnings } =
                performance::performance(self.database, self.user, resolved, self.plan.as_of).await?;
            let found = value.found;
            let document = ComprehensiveUserData { performance_data: Some(value.data), ..Default::default() };
            Ok(SourceAnswer::new(found, warnings.into_vec(), document))
        };
        self.optional(Section::Performance, &self.sources.performance, work).await
    }

    pub(super) async fn recommendations(&self, resolved: Option<ResolvedStrategy>) -> Option<AssembledPart> {
        let work = async {
            let Read { value, warnings } = performance::recommendations(self.database, self.user, resolved).await?;
            let found = !value.is_empty();
            let document = ComprehensiveUserData { recommendations_data: value, ..Default::default() };
            Ok(SourceAnswer::new(found, warnings.into_vec(), document))
        };
        self.optional(Section::Recommendations, &self.sources.recommendations, work).await
    }

    /// Runs a required source, up to its hard timeout.
    async fn required<T>(
        &self,
        guard: &Guard,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<(T, Duration), AggregateError> {
        let run = guard.run(self.sources.hard_timeout, work).await;
        match run.result {
            Ok(value) => Ok((value, run.took)),
            Err(error) => Err(AggregateError::Source { name: guard.name(), error }),
        }
    }

    /// Runs an optional section, if the plan has it, up to its soft timeout.
    async fn optional(
        &self,
        section: Section,
        guard: &Guard,
        work: impl Future<Output = Result<SourceAnswer, SourceError>>,
    ) -> Option<AssembledPart> {
        if !self.wants(section) {
            return None;
        }
        let Run { result, took } = guard.run(self.sources.soft_timeout.min(self.remaining()), work).await;
        Some(match result {
            Ok(answer) => self.answered(section, answer, took),
            Err(error) => self.failed(section, &error, took),
        })
    }

    fn answered(&self, section: Section, answer: SourceAnswer, took: Duration) -> AssembledPart {
        let facts = SectionFacts {
            state: if answer.found { State::Ok } else { State::NotFound },
            reason: answer.reason.to_owned(),
            warnings: answer.warnings,
            ..self.facts(section, took)
        };
        AssembledPart { facts, bytes: answer.document.encode_to_vec().into(), rows: Bytes::new() }
    }

    fn failed(&self, section: Section, error: &SourceError, took: Duration) -> AssembledPart {
        let cause = error as &dyn std::error::Error;
        let section_name = section.as_str_name();
        match error {
            SourceError::Panic => tracing::error!(section = section_name, "source panicked; its section is left out"),
            // The failures that opened the circuit are logged; each document until it closes would repeat them.
            SourceError::BreakerOpen => {
                tracing::debug!(section = section_name, "source circuit open; its section is left out");
            }
            _ => tracing::warn!(section = section_name, error = cause, "source failed; its section is left out"),
        }
        let facts =
            SectionFacts { state: State::Failed, reason: error.reason().to_owned(), ..self.facts(section, took) };
        AssembledPart { facts, bytes: Bytes::new(), rows: Bytes::new() }
    }

    /// The facts that do not depend on the result. `read_at` is the assembly's start, before the first source is read:
    /// a section never seems newer than it is.
    fn facts(&self, section: Section, took: Duration) -> SectionFacts {
        SectionFacts {
            section,
            state: State::Unspecified,
            generator: generator(section),
            read_at: self.plan.as_of,
            took,
            reason: String::new(),
            warnings: Vec::new(),
            detail: String::new(),
        }
    }

    fn wants(&self, section: Section) -> bool {
        self.plan.sections.contains(section)
    }

    fn wants_any(&self, sections: &[Section]) -> bool {
        sections.iter().any(|section| self.wants(*section))
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl<S> SourceRows<S> {
    fn new<T>(Read { value, warnings }: Read<T>, took: Duration, share: impl FnOnce(T) -> S) -> Self {
        Self { value: share(value), warnings: warnings.into_vec(), took }
    }
}

/// Compares what the user has with what others have.
async fn compare(
    onboarding: Arc<Onboarding>,
    strategy: Option<Arc<Strategy>>,
    events: Vec<CalendarEvent>,
) -> Result<GapAnalysis, SourceError> {
    let input = GapInput { onboarding: &onboarding, strategy: strategy.as_deref(), events: &events };
    if gap_analysis::text_bytes(&input) <= BLOCKING_ABOVE_BYTES {
        return Ok(gap_analysis::analyse(&input));
    }
    // Its input is limited, so it ends by itself if the assembly is dropped.
    tokio::task::spawn_blocking(move || {
        let input = GapInput { onboarding: &onboarding, strategy: strategy.as_deref(), events: &events };
        gap_analysis::analyse(&input)
    })
    .await
    .map_err(|_panicked| SourceError::Panic)
}

impl SourceAnswer {
    fn new(found: bool, warnings: Vec<String>, document: ComprehensiveUserData) -> Self {
        Self { found, reason: "", warnings, document }
    }
}

/// The generator of a section. The AI analysis itself says whether rules or a model made it; only the model can fail.
fn generator(section: Section) -> Generator {
    match section {
        Section::Onboarding | Section::Strategy | Section::Performance | Section::Recommendations => {
            Generator::Database
        }
        Section::AiAnalysis => Generator::Model,
        Section::GapAnalysis => Generator::Algorithm,
        Section::Derived => Generator::Rules,
        Section::Unspecified => Generator::Unspecified,
    }
}
