//! `gap_analysis` and `keyword_analysis`: gaps of the site and keywords to aim at, from stored analyses, else from the
//! rule tables.

use serde_json::Value as Json;

use super::{
    defaults::Basis,
    provenance::{Known, Provenance, Sources, first_list},
};
use crate::{
    aggregate::{
        rows::GapRow,
        value::{distinct, first_filled, member, number, strings, text},
    },
    proto::v1::{KeywordAnalysis, OnboardingGaps},
};

const ITEMS_MAX: usize = 20;

/// `insights` are the website's content strategy insights.
pub(super) fn gaps(insights: &Json, gap: &GapRow, basis: &Basis, sources: &mut Sources) -> OnboardingGaps {
    let content_gaps = [
        (strings(member(insights, "content_gaps")), Provenance::WebsiteAnalysis),
        (strings(member(&gap.analysis_results, "content_gaps")), Provenance::ContentGapAnalyses),
        (basis.content_gaps(), Provenance::RuleDefault),
    ];
    let target_keywords = [
        (in_stored_order(&gap.target_keywords), Provenance::ContentGapAnalyses),
        (basis.target_keywords(), Provenance::RuleDefault),
    ];
    let content_opportunities = [
        (strings(member(insights, "opportunities")), Provenance::WebsiteAnalysis),
        (strings(&gap.opportunities), Provenance::ContentGapAnalyses),
        (basis.content_opportunities(), Provenance::RuleDefault),
    ];
    OnboardingGaps {
        content_gaps: first(content_gaps, "content_gaps", sources),
        target_keywords: first(target_keywords, "target_keywords", sources),
        content_opportunities: first(content_opportunities, "content_opportunities", sources),
    }
}

pub(super) fn keywords(gap: &GapRow, basis: &Basis, sources: &mut Sources) -> KeywordAnalysis {
    let high_value_keywords = [
        (by_stored_score(member(&gap.analysis_results, "keyword_opportunities")), Provenance::ContentGapAnalyses),
        (in_stored_order(&gap.target_keywords), Provenance::ContentGapAnalyses),
        (basis.high_value_keywords(), Provenance::RuleDefault),
    ];
    let content_topics = [(basis.content_topics(), Provenance::RuleDefault)];
    KeywordAnalysis {
        high_value_keywords: first(high_value_keywords, "high_value_keywords", sources),
        content_topics: first(content_topics, "content_topics", sources),
        search_intent: Some(sources.note("search_intent", (basis.search_intent(), Provenance::RuleDefault))),
    }
}

fn first<const N: usize>(candidates: [Known<Vec<String>>; N], key: &str, sources: &mut Sources) -> Vec<String> {
    let mut list = sources.note_if_known(key, first_list(candidates)).unwrap_or_default();
    list.truncate(ITEMS_MAX);
    list
}

fn in_stored_order(keywords: &Json) -> Vec<String> {
    distinct(stored(keywords).into_iter().map(|(keyword, _)| keyword))
}

/// By `opportunity_score` descending (absent counts as 0), then by text.
fn by_stored_score(keywords: &Json) -> Vec<String> {
    let score = |attributes: &Json| number(member(attributes, "opportunity_score")).unwrap_or(0.0);
    let mut keywords = stored(keywords);
    keywords.sort_by(|(a, left), (b, right)| score(right).total_cmp(&score(left)).then_with(|| a.cmp(b)));
    distinct(keywords.into_iter().map(|(keyword, _)| keyword))
}

/// Keywords and their attributes: the elements of an array (texts, or objects with a keyword), or the keys of an
/// object.
fn stored(keywords: &Json) -> Vec<(String, &Json)> {
    let of_element = |element: &'_ Json| match element {
        Json::String(_) => text(element),
        _ => text(first_filled(["keyword", "term", "name"].map(|key| member(element, key)))?),
    };
    match keywords {
        Json::Array(elements) => elements.iter().filter_map(|element| Some((of_element(element)?, element))).collect(),
        Json::Object(entries) => entries.iter().map(|(key, value)| (key.trim().to_owned(), value)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::v1::WebsiteAnalysis;

    #[test]
    fn keywords_are_elements_or_keys() {
        for (column, expected) in [
            (
                json!([" a ", {"keyword": "b"}, {"keyword": "", "term": "c"}, {"name": "d"}, {"title": "e"}, 5, "A"]),
                &["a", "b", "c", "d"][..],
            ),
            (json!({"b": 1, " a": {}, " ": 2}), &["a", "b"]),
            (json!("a; b"), &[]),
            (json!(null), &[]),
        ] {
            assert_eq!(in_stored_order(&column), expected, "{column}");
        }
    }

    #[test]
    fn high_value_keywords_follow_their_stored_score() {
        for (opportunities, expected) in [
            (
                json!([{"keyword": "b"}, {"keyword": "c", "opportunity_score": "70"}, {"keyword": "d", "opportunity_score": 80}, "a"]),
                &["d", "c", "a", "b"][..],
            ),
            (json!({"x": {"opportunity_score": 1}, "y": {"opportunity_score": 2}}), &["y", "x"]),
            (json!([]), &["target"]),
        ] {
            let gap = GapRow {
                analysis_results: json!({"keyword_opportunities": opportunities}),
                target_keywords: json!(["target"]),
                ..GapRow::default()
            };
            let basis = Basis::of(&WebsiteAnalysis::default(), &Json::Null);
            assert_eq!(keywords(&gap, &basis, &mut Sources::default()).high_value_keywords, expected);
        }
    }

    #[test]
    fn stored_gaps_come_before_rules_and_are_at_most_twenty() {
        let basis = Basis::of(&WebsiteAnalysis::default(), &json!({"primary_type": "podcast"}));
        let many: Vec<String> = (0..30).map(|n| format!("gap {n}")).collect();
        let row = |analysis_results| GapRow { analysis_results, ..GapRow::default() };
        for (insights, gap, expected) in [
            (json!({"content_gaps": many}), json!({"content_gaps": ["b"]}), 20),
            (json!({"content_gaps": []}), json!({"content_gaps": [{"topic": "b"}, {"gap_score": 3}]}), 1),
            (json!(null), json!(null), 0),
        ] {
            let mut sources = Sources::default();
            assert_eq!(gaps(&insights, &row(gap), &basis, &mut sources).content_gaps.len(), expected);
            assert_eq!(sources.into_map().contains_key("content_gaps"), expected > 0);
        }
    }
}
