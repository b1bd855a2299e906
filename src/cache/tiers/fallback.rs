//! Snapshots that the tiers hold and that cannot be served as they are: expired, or outdated in part.
//!
//! A load makes three things of them: the sections that are still valid, so that only the others are read again; a
//! stale section for one whose source fails now; the whole document if a required source fails. Each use judges them
//! again, because invalidations may have arrived since the lookup.

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

/// One snapshot per tier at most.
#[derive(Clone, Debug, Default)]
pub(in crate::cache) struct Fallback(Vec<(Snapshot, Tier)>);

/// Sections of one snapshot that need not be read again; by default none.
#[derive(Debug, Default)]
pub(in crate::cache) struct ReusedSections {
    pub(in crate::cache) parts: Vec<Part>,
    /// The strategy of the document; the outer `None` if the snapshot does not tell it.
    pub(in crate::cache) strategy: Option<Option<ResolvedStrategy>>,
}

impl Fallback {
    /// Adds a snapshot unless it is older than `age_max`.
    pub(super) fn add(&mut self, snapshot: Snapshot, tier: Tier, age_max: Duration, now: DateTime<Utc>) {
        if age(snapshot.as_of, now) <= age_max {
            self.0.push((snapshot, tier));
        }
    }

    /// The document to serve if the sources fail: nothing in it is outdated; complete ones first, then the newest.
    pub(in crate::cache) fn last_good(&self, view: &LogView) -> Option<(Snapshot, Tier)> {
        let good = self.0.iter().filter(|(snapshot, _)| view.admits(snapshot, SectionSet::ALL));
        good.max_by_key(|(snapshot, _)| (snapshot.complete(), snapshot.order())).cloned()
    }

    /// The sections of one snapshot that need not be read again, if there are any.
    pub(in crate::cache) fn reused_sections(
        &self,
        view: &LogView,
        config: &config::DatabaseSettings,
        now: DateTime<Utc>,
    ) -> Option<ReusedSections> {
        let age_max = reuse_age_max(config);
        let is_usable = |snapshot: &Snapshot, section| {
            let Some(sealed) = snapshot.section(section) else { return false };
            let has_succeeded = matches!(sealed.facts.state, State::Ok | State::NotFound);
            has_succeeded && view.is_valid(section, sealed.read_position) && age(sealed.facts.read_at, now) < age_max
        };
        let kept = self.judged(view).map(|snapshot| {
            let again: SectionSet = SECTIONS.into_iter().filter(|section| !is_usable(snapshot, *section)).collect();
            let again = again.with_dependents();
            let kept: Vec<Section> = SECTIONS.into_iter().filter(|section| !again.contains(*section)).collect();
            (snapshot, kept)
        });
        let (snapshot, kept) = kept.max_by_key(|(snapshot, kept)| (kept.len(), snapshot.order()))?;
        // If all sections look usable, the reason why the snapshot cannot be served is unknown: read all of it again.
        let is_useful = !kept.is_empty() && kept.len() < SECTIONS.len();
        is_useful.then(|| ReusedSections {
            parts: kept.into_iter().filter_map(|section| snapshot.part(section)).collect(),
            strategy: strategy_of(snapshot),
        })
    }

    /// The newest readable version of a section whose source failed.
    pub(in crate::cache) fn stale_part(
        &self,
        failed: &Part,
        view: &LogView,
        age_max: Duration,
        now: DateTime<Utc>,
    ) -> Option<Part> {
        let section = failed.facts.section;
        let parts = self.judged(view).filter_map(|snapshot| snapshot.part(section)).filter(|part| {
            let has_content = matches!(part.facts.state, State::Ok | State::Stale);
            has_content && view.is_valid(section, part.read_position) && age(part.facts.read_at, now) <= age_max
        });
        let mut part = parts.max_by_key(|part| part.facts.read_at)?;
        part.facts.state = State::Stale;
        part.facts.reason.clone_from(&failed.facts.reason);
        Some(part)
    }

    fn judged(&self, view: &LogView) -> impl Iterator<Item = &Snapshot> {
        self.0.iter().map(|(snapshot, _)| snapshot).filter(|snapshot| view.can_judge(snapshot))
    }
}

impl ReusedSections {
    /// The onboarding rows that the section was made from, if the snapshot kept them.
    pub(in crate::cache) fn onboarding(&self) -> Option<Arc<Onboarding>> {
        let part = self.parts.iter().find(|part| part.facts.section == Section::Onboarding)?;
        onboarding::restore(&part.rows, &part.bytes).map(Arc::new)
    }

    /// Without the sections about a strategy, for a user who has another strategy now.
    pub(in crate::cache) fn without_strategy(mut self) -> Self {
        self.parts.retain(|part| part.facts.section == Section::Onboarding);
        self
    }

    /// The sections to read.
    pub(in crate::cache) fn missing(&self) -> SectionSet {
        let kept: SectionSet = self.parts.iter().map(|part| part.facts.section).collect();
        SECTIONS.into_iter().filter(|section| !kept.contains(*section)).collect()
    }
}

/// How old a section may be to become part of a new document. It is less than the age at which refresh-ahead starts for
/// the shortest TTL: otherwise a refresh would reuse the sections that it is to replace.
fn reuse_age_max(config: &config::DatabaseSettings) -> Duration {
    config.ttl.mul_f64(config.refresh_after * (1.0 - config.ttl_jitter))
}

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

/// Zero for an instant in the future.
fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - then).to_std().unwrap_or_default()
}
