//! What the tiers hold of a document that cannot be served as it is: expired, or outdated in part.
//!
//! Of that a load makes three things: the sections that are still of use, so that only the others are
//! read again; a section in place of one that fails now; the whole document, if a required source
//! fails. Each is judged anew when it is taken: since it was found, fences may have come.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use prost::Message as _;

use crate::{
    aggregate::{
        onboarding,
        rows::{Onboarding, ResolvedStrategy},
    },
    cache::invalidation_log::LogView,
    config,
    model::{Section, SectionSet, Snapshot, State, Tier, section::SECTIONS, snapshot::Part},
    proto::v1::ComprehensiveUserData,
};

/// One document per tier at most.
#[derive(Clone, Debug, Default)]
pub(in crate::cache) struct Fallback(Vec<(Snapshot, Tier)>);

/// Sections that need not be read again, all of one document; by default none.
#[derive(Debug, Default)]
pub(in crate::cache) struct Base {
    pub(in crate::cache) parts: Vec<Part>,
    /// The strategy that the document is about; the outer none: it does not say.
    pub(in crate::cache) strategy: Option<Option<ResolvedStrategy>>,
}

impl Fallback {
    /// Remembers a document, unless it is too old for anything.
    pub(in crate::cache) fn add(&mut self, snapshot: Snapshot, tier: Tier, age_max: Duration, now: DateTime<Utc>) {
        if age(snapshot.as_of, now) <= age_max {
            self.0.push((snapshot, tier));
        }
    }

    /// The document to be served if the sources fail: nothing in it outdated; before a partial one a complete
    /// one, then the newest.
    pub(in crate::cache) fn last_good(&self, view: &LogView) -> Option<(Snapshot, Tier)> {
        let good = self.0.iter().filter(|(snapshot, _)| view.admits(snapshot, SectionSet::ALL));
        good.max_by_key(|(snapshot, _)| (snapshot.complete(), snapshot.as_of)).cloned()
    }

    /// The sections of one document that need not be read again; none if there are none.
    pub(in crate::cache) fn base(&self, view: &LogView, config: &config::Database, now: DateTime<Utc>) -> Option<Base> {
        let age_max = reused_until(config);
        let usable = |snapshot: &Snapshot, section| {
            let Some(sealed) = snapshot.section(section) else { return false };
            let made = matches!(sealed.facts.state, State::Ok | State::NotFound);
            made && view.is_valid(section, sealed.read_position) && age(sealed.facts.read_at, now) < age_max
        };
        let judged = self.0.iter().filter(|(snapshot, _)| view.can_judge(snapshot));
        let kept = judged.map(|(snapshot, _)| {
            let again: SectionSet = SECTIONS.into_iter().filter(|section| !usable(snapshot, *section)).collect();
            let again = again.with_dependents();
            let kept: Vec<Section> = SECTIONS.into_iter().filter(|section| !again.contains(*section)).collect();
            (snapshot, kept)
        });
        let (snapshot, kept) = kept.max_by_key(|(snapshot, kept)| (kept.len(), snapshot.as_of))?;
        // With nothing left to read, why it cannot be served is not understood: better all of it anew.
        let useful = !kept.is_empty() && kept.len() < SECTIONS.len();
        useful.then(|| Base {
            parts: kept.into_iter().filter_map(|section| snapshot.part(section)).collect(),
            strategy: strategy_of(snapshot),
        })
    }

    /// A section as it was when it could last be read, in place of one that failed.
    pub(in crate::cache) fn stale_part(
        &self,
        failed: &Part,
        view: &LogView,
        age_max: Duration,
        now: DateTime<Utc>,
    ) -> Option<Part> {
        let section = failed.facts.section;
        let judged = self.0.iter().filter(|(snapshot, _)| view.can_judge(snapshot));
        let parts = judged.filter_map(|(snapshot, _)| snapshot.part(section)).filter(|part| {
            let had_content = matches!(part.facts.state, State::Ok | State::Stale);
            had_content && view.is_valid(section, part.read_position) && age(part.facts.read_at, now) <= age_max
        });
        let mut part = parts.max_by_key(|part| part.facts.read_at)?;
        part.facts.state = State::Stale;
        part.facts.reason.clone_from(&failed.facts.reason);
        Some(part)
    }
}

impl Base {
    /// The onboarding rows that its section was read with, if they were kept.
    pub(in crate::cache) fn onboarding(&self) -> Option<Arc<Onboarding>> {
        let part = self.parts.iter().find(|part| part.facts.section == Section::Onboarding)?;
        onboarding::restore(&part.rows, &part.bytes).map(Arc::new)
    }

    /// What of it is about no strategy, for when that is another one now.
    pub(in crate::cache) fn without_strategy(mut self) -> Self {
        self.parts.retain(|part| part.facts.section == Section::Onboarding);
        self
    }

    /// The sections that are missing in it.
    pub(in crate::cache) fn missing(&self) -> SectionSet {
        let kept: SectionSet = self.parts.iter().map(|part| part.facts.section).collect();
        SECTIONS.into_iter().filter(|section| !kept.contains(*section)).collect()
    }
}

/// How old a section may be to become part of a new document: less than when a document of the shortest
/// life is assembled ahead of its end, or that would be made of the very sections that it is to replace.
fn reused_until(config: &config::Database) -> Duration {
    config.ttl.mul_f64(config.refresh_after * (1.0 - config.ttl_jitter))
}

/// Which strategy a document's sections are about.
fn strategy_of(snapshot: &Snapshot) -> Option<Option<ResolvedStrategy>> {
    let part = snapshot.part(Section::Strategy)?;
    match part.facts.state {
        State::NotFound => Some(None),
        State::Ok => {
            let data = ComprehensiveUserData::decode(part.bytes).ok()?.strategy_data?;
            Some(Some(ResolvedStrategy { kind: data.kind(), id: data.strategy_id.try_into().ok()? }))
        }
        _ => None,
    }
}

/// Zero if it lies in the future.
fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - then).to_std().unwrap_or_default()
}
