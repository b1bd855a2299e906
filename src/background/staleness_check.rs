//! Compares a share of the hits with a fresh read of the sources, behind the answers. It finds missing triggers, and
//! writers that bypass them.
//!
//! Decision: sections that come from the database are read again and compared. The AI's section is derived from them and
//! is never requested here. Fingerprints in the database were rejected, because they would be a second account of what
//! the sources read.
//!
//! Invariant: one comparison runs at a time, and no request waits for it. A difference counts only after every change that
//! was committed before it was seen is applied; otherwise the change may still be on its way.

use std::{collections::VecDeque, sync::Arc};

use prost::Message as _;

use super::change_relay::ChangeRelay;
use crate::{
    aggregate::{AggregateError, Aggregator, Plan},
    cache::{counters::Counters, invalidation_log::InvalidationLog, samples::Samples},
    clock::Clock,
    config::Config,
    model::{DataHash, Scope, Section, SectionSet, Snapshot, State, UserDataQuery, document, snapshot::Part},
    proto::v1::ComprehensiveUserData,
    sync::Mutex,
};

/// Sections read from the database, or derived from such.
const COMPARED: [Section; 6] = [
    Section::Onboarding,
    Section::Strategy,
    Section::GapAnalysis,
    Section::Performance,
    Section::Recommendations,
    Section::Derived,
];
/// Findings remembered, so that each is logged once.
const FINDINGS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct StalenessCheck {
    pub(super) samples: Arc<Samples>,
    pub(super) relay: Arc<ChangeRelay>,
    pub(super) aggregator: Arc<Aggregator>,
    pub(super) log: Arc<InvalidationLog>,
    pub(super) counters: Arc<Counters>,
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) findings: Mutex<VecDeque<(DataHash, Section, i64)>>,
}

impl StalenessCheck {
    /// Compares the next sample, if there is one.
    pub(super) async fn run(&self) {
        let Some((query, snapshot)) = self.samples.take() else { return };
        let counters = &self.counters.staleness;
        let Some(differing) = self.differing(&query, &snapshot).await else {
            // The source that failed has logged it.
            return counters.undecided.add(1);
        };
        counters.compared.add(1);
        if differing.is_empty() {
            return;
        }
        // Every change that the fresh read has seen is applied after this, if it was noted at all.
        if !self.relay.relay_now().await || self.log.catch_up().await.is_err() {
            return counters.undecided.add(1);
        }
        let view = self.log.view(query.key());
        if !view.can_judge(&snapshot) {
            return counters.undecided.add(1);
        }
        let is_stale = |part: &Part| view.is_valid(part.facts.section, part.read_position);
        let stale: Vec<Part> = differing.into_iter().filter(is_stale).collect();
        if stale.is_empty() {
            return counters.change_pending.add(1);
        }
        stale.iter().for_each(|part| self.report(query.key().hash, part));
        self.invalidate(&query, &stale).await;
    }

    /// What is proved to be outdated is not served any longer.
    async fn invalidate(&self, query: &UserDataQuery, stale: &[Part]) {
        let sections = stale.iter().map(|part| part.facts.section).collect();
        let scope = Scope { user: query.key().user.clone(), strategy: query.key().strategy, sections };
        if let Err(error) = self.log.append(scope.hashed()).await {
            tracing::error!(%error, "a stale section could not be invalidated; it is served until it expires");
        }
    }

    fn report(&self, data_hash: DataHash, part: &Part) {
        // It became stale at some moment after it was read.
        let age_max = (self.clock.utc() - part.facts.read_at).to_std().unwrap_or_default();
        if self.is_new(data_hash, part) {
            let age_max_ms = age_max.as_millis();
            self.counters.staleness.stale.add(1);
            self.counters.staleness.age_max_ms.raise(age_max_ms.try_into().unwrap_or(u64::MAX));
            tracing::error!(
                %data_hash,
                section = part.facts.section.as_str_name(),
                age_max_ms,
                "stale section served: the sources differ and no change was recorded; check that all triggers are installed"
            );
        }
    }

    fn is_new(&self, data_hash: DataHash, part: &Part) -> bool {
        let finding = (data_hash, part.facts.section, part.read_position);
        let mut findings = self.findings.lock();
        if findings.contains(&finding) {
            return false;
        }
        if findings.len() == FINDINGS_MAX {
            findings.pop_front();
        }
        findings.push_back(finding);
        true
    }

    /// The sections that differ in a fresh read; none if a source fails.
    async fn differing(&self, query: &UserDataQuery, snapshot: &Snapshot) -> Option<Vec<Part>> {
        let sections: SectionSet = COMPARED.into_iter().collect();
        // The windows of this section end at its read; no other section depends on the time.
        let as_of = snapshot.section(Section::Performance)?.facts.read_at;
        let budget = self.config.loads.budget;
        let plan = Plan { sections, as_of, refresh: false, budget, onboarding: None, ai_calls: None };
        let reading = self.aggregator.aggregate(query, &plan);
        let fresh = match tokio::time::timeout(budget, Box::pin(reading)).await.ok()? {
            Ok(assembled) => assembled.parts,
            Err(AggregateError::UnknownUser | AggregateError::UnknownStrategy) => Vec::new(),
            Err(AggregateError::Source { .. } | AggregateError::BudgetExceeded) => return None,
        };
        let has_succeeded = |state| matches!(state, State::Ok | State::NotFound);
        let served = sections.iter().filter_map(|section| snapshot.part(section));
        let differs = |part: &Part| {
            let again = fresh.iter().find(|again| again.facts.section == part.facts.section);
            again.is_none_or(|again| has_succeeded(again.facts.state) && differ(&part.bytes, &again.bytes))
        };
        Some(served.filter(|part| has_succeeded(part.facts.state) && differs(part)).collect())
    }
}

/// Whether two sections differ in more than when their rows were last saved.
fn differ(served: &[u8], again: &[u8]) -> bool {
    if served == again {
        return false;
    }
    let read = |bytes| {
        ComprehensiveUserData::decode(bytes).map(|mut section| {
            document::forget_saves(&mut section);
            section
        })
    };
    read(served) != read(again)
}
