//! Advice from gaps and keywords, followed by advice that the planning application has stored.

use serde_json::Value as Json;

use super::corpus::Corpus;
use crate::{
    aggregate::{
        rows::GapRow,
        value::{element_text, level, member, round, score01, text},
    },
    proto::v1::{ContentGap, ContentSuggestion, GapOpportunity, Generator, KeywordOpportunity, OpportunityType},
};

const GAPS_MAX: usize = 5;
const KEYWORDS_MAX: usize = 5;
const KEYWORDS_ADVISED_MAX: usize = 3;
const STORED_MAX: usize = 5;
/// Keywords below this score are not recommended.
const KEYWORD_SCORE_MIN: f64 = 50.0;

/// Advice made from computed gaps and keywords, then stored advice.
pub(super) fn recommendations(
    computed: &[ContentGap],
    keywords: &[KeywordOpportunity],
    corpus: &Corpus<'_>,
    row: &GapRow,
) -> Vec<ContentSuggestion> {
    let gaps = computed.iter().take(GAPS_MAX).map(|gap| ContentSuggestion {
        r#type: "Content Creation".to_owned(),
        title: format!("Cover {}", gap.topic),
        description: standing(gap, corpus),
        priority: gap.priority.clone(),
        estimated_impact: gap.priority.clone(),
        implementation_time: match gap.priority.as_str() {
            "high" => "2 weeks",
            "medium" => "4 weeks",
            _ => "8 weeks",
        }
        .to_owned(),
        content_suggestions: gap.evidence.iter().map(|evidence| evidence.text.clone()).collect(),
        generator: Generator::Algorithm.into(),
        ..ContentSuggestion::default()
    });
    let targets = worthwhile(keywords).take(KEYWORDS_ADVISED_MAX).map(|keyword| ContentSuggestion {
        r#type: "Content Optimization".to_owned(),
        title: format!("Target {}", keyword.keyword),
        description: score(keyword),
        priority: "medium".to_owned(),
        estimated_impact: "medium".to_owned(),
        implementation_time: "2 weeks".to_owned(),
        generator: Generator::Algorithm.into(),
        ..ContentSuggestion::default()
    });
    let stored = items(&row.recommendations)
        .filter_map(|item| {
            let word = |key: &str| text(member(item, key)).unwrap_or_default();
            Some(ContentSuggestion {
                title: text(member(item, "title"))?,
                r#type: word("type"),
                description: word("description"),
                priority: level(member(item, "priority")).to_owned(),
                estimated_impact: word("estimated_impact"),
                implementation_time: word("implementation_time"),
                generator: Generator::Database.into(),
                ..ContentSuggestion::default()
            })
        })
        .take(STORED_MAX);
    gaps.chain(targets).chain(stored).collect()
}

/// Topics, then keywords, then stored opportunities.
pub(super) fn opportunities(
    computed: &[ContentGap],
    keywords: &[KeywordOpportunity],
    corpus: &Corpus<'_>,
    row: &GapRow,
) -> Vec<GapOpportunity> {
    let topics = computed.iter().filter(|gap| gap.priority != "low").take(GAPS_MAX).map(|gap| GapOpportunity {
        r#type: OpportunityType::Topic.into(),
        title: gap.topic.clone(),
        description: standing(gap, corpus),
        priority: gap.priority.clone(),
        score: gap.gap_score,
    });
    let targets = worthwhile(keywords).take(KEYWORDS_MAX).map(|keyword| GapOpportunity {
        r#type: OpportunityType::Keyword.into(),
        title: keyword.keyword.clone(),
        description: score(keyword),
        priority: "medium".to_owned(),
        score: Some(round(keyword.opportunity_score / 100.0, 4)),
    });
    let stored = items(&row.opportunities)
        .filter_map(|item| Some((element_text(item)?.trim(), item)))
        .filter(|(title, _)| !title.is_empty())
        .map(|(title, item)| GapOpportunity {
            r#type: OpportunityType::Stored.into(),
            title: title.to_owned(),
            description: text(member(item, "description")).unwrap_or_default(),
            priority: level(member(item, "priority")).to_owned(),
            score: score01(member(item, "score")).map(|score| round(score, 4)),
        })
        .take(STORED_MAX);
    topics.chain(targets).chain(stored).collect()
}

fn worthwhile(keywords: &[KeywordOpportunity]) -> impl Iterator<Item = &KeywordOpportunity> {
    keywords.iter().filter(|keyword| keyword.opportunity_score >= KEYWORD_SCORE_MIN)
}

fn standing(gap: &ContentGap, corpus: &Corpus<'_>) -> String {
    format!(
        "{} of {} competitors cover it; own coverage {} %.",
        gap.competitors_covering.unwrap_or_default(),
        corpus.competitors.len(),
        round(100.0 * gap.own_coverage.unwrap_or_default(), 0),
    )
}

fn score(keyword: &KeywordOpportunity) -> String {
    format!("Opportunity score {}.", keyword.opportunity_score)
}

fn items(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}
