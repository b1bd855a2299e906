//! The competitors: one row per domain, and the most relevant ones.

use std::collections::HashSet;

use super::{
    defaults::Basis,
    provenance::{Provenance, Sources, first_list},
};
use crate::aggregate::{
    rows::{CompetitorRow, by_relevance},
    value::host,
};

const TOP_PERFORMERS_MAX: usize = 10;

/// The domain of a row: the column if filled, else the host of the address.
pub(super) fn domain(column: Option<&str>, url: &str) -> String {
    let column = column.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
    column.map_or_else(|| host(url), |text| text.strip_prefix("www.").unwrap_or(&text).to_owned())
}

/// The first row of each domain, which is the newest. A row that names no domain is left out: its competitor is
/// unknown.
pub(super) fn one_per_domain(mut rows: Vec<CompetitorRow>) -> Vec<CompetitorRow> {
    let mut seen = HashSet::new();
    rows.retain(|row| !row.domain.is_empty() && seen.insert(row.domain.clone()));
    rows
}

/// The competitors' domains, most relevant first. Without competitors, the rule table names some for two industries.
pub(super) fn top_performers(competitors: &[CompetitorRow], basis: &Basis, sources: &mut Sources) -> Vec<String> {
    let ranked = by_relevance(competitors).into_iter().take(TOP_PERFORMERS_MAX).map(|row| row.domain.clone());
    let known = first_list([
        (ranked.collect(), Provenance::CompetitorAnalyses),
        (basis.top_performers(), Provenance::RuleDefault),
    ]);
    sources.note_if_known("competitor_analysis", known).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_domain_is_the_columns_else_the_addresss() {
        for (column, url, expected) in [
            (Some(" WWW.Alpha.example "), "https://beta.example", "alpha.example"),
            (Some("  "), "https://www.Beta.example:8080/x", "beta.example"),
            (None, "beta.example/x", "beta.example"),
            (None, "", ""),
        ] {
            assert_eq!(domain(column, url), expected);
        }
    }

    #[test]
    fn of_one_domain_the_newest_row_counts() {
        let row = |domain: &str, url: &str| CompetitorRow {
            domain: domain.to_owned(),
            url: url.to_owned(),
            ..CompetitorRow::default()
        };
        let newest_first = vec![row("a", "1"), row("b", "2"), row("a", "3"), row("", "4")];
        let urls: Vec<String> = one_per_domain(newest_first).into_iter().map(|row| row.url).collect();
        assert_eq!(urls, ["1", "2"]);
    }

    #[test]
    fn the_ten_most_relevant_are_named_then_by_domain() {
        let mut rows: Vec<CompetitorRow> =
            (0..12).map(|n| CompetitorRow { domain: format!("{n:02}.example"), ..CompetitorRow::default() }).collect();
        rows[11].analysis_data = json!({"relevance_score": "0.4"});
        rows[5].analysis_data = json!({"relevance_score": -1});
        let basis = Basis::of(&crate::proto::v1::WebsiteAnalysis::default(), &serde_json::Value::Null);
        let named = top_performers(&rows, &basis, &mut Sources::default());
        assert_eq!(named.len(), 10);
        assert_eq!(named[..2], ["11.example", "00.example"]);
        assert!(!named.contains(&"05.example".to_owned()));
    }
}
