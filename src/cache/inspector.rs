//! Looks whether what is served is what the sources say: a share of hits is compared with a fresh reading, behind the
//! answers. It is how a missing trigger, or a writer who goes past them, is noticed.
//!
//! Decision: what reads the database is read again and compared; the AI's section is a function of those, and is never
//! asked for here. Fingerprints in the database were rejected: they would be a second account of what is read.
//! Invariant: one comparison at a time, so many a second at most, and nobody waits for it. A difference counts only once
//! its change has had its time and nothing waits in the outbox any more: else it may be a change under way.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prost::Message as _;

use super::{UserDataCache, stats::Counter};
use crate::{
    aggregate::{AggregateError, Plan},
    model::{DataHash, Section, SectionSet, Snapshot, State, UserDataQuery, document, snapshot::Part},
    proto::v1::{ComprehensiveUserData, StalenessCheckStats},
    sync::Mutex,
};

/// What is compared: read from the database, or made from what was.
const COMPARED: [Section; 6] = [
    Section::Onboarding,
    Section::Strategy,
    Section::GapAnalysis,
    Section::Performance,
    Section::Recommendations,
    Section::Derived,
];
/// How often the outbox is looked at before a difference is left undecided: where somebody writes all the time, some
/// change is always under way.
const LOOKS: u32 = 20;
/// Findings remembered, so that each is told once.
const FINDINGS_MAX: usize = 256;

/// What is looked at next, and what was found so far.
#[derive(Debug, Default)]
pub(super) struct Inspector {
    /// The next run takes it; what comes while it is there is passed over.
    next: Mutex<Option<(UserDataQuery, Snapshot)>>,
    findings: Mutex<VecDeque<(DataHash, Section, i64)>>,
    compared: Counter,
    skipped: Counter,
    change_pending: Counter,
    undecided: Counter,
    stale: Counter,
    age_max_ms: AtomicU64,
}

impl Inspector {
    /// Picks a document to be looked at.
    pub(super) fn pick(&self, query: &UserDataQuery, snapshot: &Snapshot) {
        match self.next.try_lock() {
            Some(mut next) if next.is_none() => *next = Some((query.clone(), snapshot.clone())),
            _ => self.skipped.add(1),
        }
    }

    fn take(&self) -> Option<(UserDataQuery, Snapshot)> {
        self.next.lock().take()
    }

    /// Notes what is served outdated. Whether that is new.
    fn find(&self, hash: DataHash, part: &Part, age: Duration) -> bool {
        let finding = (hash, part.facts.section, part.read_position);
        let mut findings = self.findings.lock();
        if findings.contains(&finding) {
            return false;
        }
        if findings.len() == FINDINGS_MAX {
            findings.pop_front();
        }
        findings.push_back(finding);
        self.stale.add(1);
        self.age_max_ms.fetch_max(age.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        true
    }

    /// For the statistics.
    pub(super) fn stats(&self) -> StalenessCheckStats {
        let age_max = self.age_max_ms.load(Ordering::Relaxed);
        StalenessCheckStats {
            compared: self.compared.get(),
            skipped: self.skipped.get(),
            change_pending: self.change_pending.get(),
            undecided: self.undecided.get(),
            stale: self.stale.get(),
            age_max: (age_max > 0).then(|| Duration::from_millis(age_max).into()),
        }
    }
}

impl UserDataCache {
    /// Compares the document that was picked last, if one was.
    pub async fn inspect(&self) {
        let Some((query, snapshot)) = self.inspector.take() else { return };
        let loader = &self.loader;
        let until = loader.clock.now().after(loader.config.sources.relay_poll + loader.config.fence.lease);
        let Some(differing) = self.differing(&query, &snapshot).await else {
            // A source could not be read: that is told where it failed.
            return self.inspector.undecided.add(1);
        };
        self.inspector.compared.add(1);
        if differing.is_empty() {
            return;
        }
        tokio::time::sleep(until.since(loader.clock.now())).await;
        if !self.nothing_is_under_way().await {
            return self.inspector.undecided.add(1);
        }
        let view = loader.invalidation_log.view(query.key());
        if !view.can_judge(&snapshot) {
            return self.inspector.undecided.add(1);
        }
        let outdated: Vec<Part> =
            differing.into_iter().filter(|part| view.is_valid(part.facts.section, part.read_position)).collect();
        if outdated.is_empty() {
            return self.inspector.change_pending.add(1);
        }
        let now = loader.clock.utc();
        for part in outdated {
            // Since some moment after it was read: more is not known.
            let age = (now - part.facts.read_at).to_std().unwrap_or_default();
            if self.inspector.find(query.key().hash, &part, age) {
                let section = part.facts.section.as_str_name();
                tracing::error!(
                    data_hash = %query.key().hash,
                    section,
                    age_max_ms = age.as_millis(),
                    "what is served is not what the sources say, and no change was told: are all triggers installed?"
                );
            }
        }
    }

    /// The sections that a fresh reading finds otherwise; none: it could not be read.
    async fn differing(&self, query: &UserDataQuery, snapshot: &Snapshot) -> Option<Vec<Part>> {
        let sections: SectionSet = COMPARED.into_iter().collect();
        // Its windows end when it was read; nothing else depends on the time.
        let as_of = snapshot.section(Section::Performance)?.facts.read_at;
        let budget = self.loader.config.flight.budget;
        let plan = Plan { sections, as_of, refresh: false, budget, onboarding: None, ai_calls: None };
        let reading = self.loader.aggregator.aggregate(query, &plan);
        let fresh = match tokio::time::timeout(budget, Box::pin(reading)).await.ok()? {
            Ok(assembled) => assembled.parts,
            Err(AggregateError::UnknownUser | AggregateError::UnknownStrategy) => Vec::new(),
            Err(AggregateError::Source { .. } | AggregateError::BudgetExceeded) => return None,
        };
        let made = |state| matches!(state, State::Ok | State::NotFound);
        let served = sections.iter().filter_map(|section| snapshot.part(section)).filter(|part| made(part.facts.state));
        let differs = |part: &Part| {
            let again = fresh.iter().find(|again| again.facts.section == part.facts.section);
            again.is_none_or(|again| made(again.facts.state) && differ(&part.bytes, &again.bytes))
        };
        Some(served.filter(differs).collect())
    }

    /// Whether every change that was made before this call is a fence that is applied here.
    async fn nothing_is_under_way(&self) -> bool {
        let Some(relay) = &self.relay else { return false };
        for _ in 0..LOOKS {
            self.relay_changes().await;
            // What another instance is moving is still there.
            if relay.is_empty().await {
                return self.loader.invalidation_log.catch_up().await.is_ok();
            }
            tokio::time::sleep(self.loader.config.sources.relay_poll).await;
        }
        false
    }
}

/// Whether two sections say different things; when a row was last saved is none.
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
