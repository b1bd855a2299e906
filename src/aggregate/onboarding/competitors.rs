//! Who the competitors are: one row per domain, and the most relevant ones.

use std::collections::HashSet;

use super::{
    defaults::Basis,
    provenance::{Origin, Sources, first_list},
};
use crate::aggregate::{
    rows::{CompetitorRow, by_relevance},
    value::host,
};

/// Domains named at most.
const TOP_PERFORMERS_MAX: usize = 10;

/// The domain that a row is about: the column if filled, else the address's host.
pub(super) fn domain(column: Option<&str>, url: &str) -> String {
    let column = column.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
    column.map_or_else(|| host(url), |text| text.strip_prefix("www.").unwrap_or(&text).to_owned())
}

/// Of each domain the first row, which is the newest as read. A row that names no domain is left
/// out: nothing could be said of whom it is about.
pub(super) fn one_per_domain(mut rows: Vec<CompetitorRow>) -> Vec<CompetitorRow> {
    let mut seen = HashSet::new();
    rows.retain(|row| !row.domain.is_empty() && seen.insert(row.domain.clone()));
    rows
}

/// Their domains, most relevant first; without competitors the rule table names some, for two industries.
pub(super) fn top_performers(competitors: &[CompetitorRow], basis: &Basis, sources: &mut Sources) -> Vec<String> {
    let ranked = by_relevance(competitors).into_iter().take(TOP_PERFORMERS_MAX).map(|row| row.domain.clone());
    let known =
        first_list([(ranked.collect(), Origin::CompetitorAnalyses), (basis.top_performers(), Origin::RuleDefault)]);
    sources.note_if_known("competitor_analysis", known).unwrap_or_default()
}
