//! One entry per competitor: its strongest topics, and how much of them the user covers.

use serde_json::Value as Json;

use super::{
    corpus::Corpus,
    passages,
    topics::{Topic, Topics},
};
use crate::{
    aggregate::{
        rows::{CompetitorRow, Onboarding, by_relevance},
        value::{host, member, number, path, round, strings, text},
    },
    proto::v1::CompetitorInsight,
};

const COMPETITORS_MAX: usize = 10;
const TOPICS_MAX: usize = 5;
const POINTS_MAX: usize = 5;

/// The most relevant competitors, also those without a text.
pub(super) fn insights(onboarding: &Onboarding, corpus: &Corpus<'_>, topics: &Topics<'_>) -> Vec<CompetitorInsight> {
    let stored = member(&onboarding.gap.analysis_results, "competitor_insights");
    by_relevance(&onboarding.competitors)
        .into_iter()
        .take(COMPETITORS_MAX)
        .map(|row| insight(row, corpus, topics, stored))
        .collect()
}

fn insight(row: &CompetitorRow, corpus: &Corpus<'_>, topics: &Topics<'_>, stored: &Json) -> CompetitorInsight {
    let data = &row.analysis_data;
    let place = corpus.competitors.iter().position(|competitor| competitor.row.domain == row.domain);
    let coverage = |topic: &Topic<'_>| place.map_or(0.0, |place| topic.coverage[place]);
    let (topic_coverage, overlap) = shares(topics, coverage);
    let (strengths, weaknesses, content_frequency) = points(row, stored);
    CompetitorInsight {
        competitor: row.domain.clone(),
        url: Some(row.url.clone()).filter(|url| !url.is_empty()),
        title: passages::title(row),
        relevance_score: number(member(data, "relevance_score")).map(|score| round(score, 4)),
        topics: strongest(topics, coverage),
        topic_coverage,
        overlap,
        strengths,
        weaknesses,
        content_frequency,
        seo_score: number(path(data, "seo_audit.overall_score")).map(|score| round(score, 4)),
        last_analyzed_at: row.last_analyzed_at().map(Into::into),
    }
}

/// The rare topics that it covers best.
fn strongest(topics: &Topics<'_>, coverage: impl Fn(&Topic<'_>) -> f64) -> Vec<String> {
    let mut ranked: Vec<(f64, &Topic<'_>)> = topics
        .all
        .iter()
        .map(|topic| (round(coverage(topic) * topic.idf, 4), topic))
        .filter(|(strength, _)| *strength > 0.0)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.stems.cmp(b.1.stems)));
    ranked.into_iter().take(TOPICS_MAX).map(|(_, topic)| topic.label.to_owned()).collect()
}

/// The mean coverage over all topics, and the part of both sides' coverage that they have in common.
fn shares(topics: &Topics<'_>, coverage: impl Fn(&Topic<'_>) -> f64) -> (f64, f64) {
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        topics.all.iter().map(|topic| of(coverage(topic), topic.own_coverage)).sum()
    };
    let share = |part: f64, whole: f64| if whole == 0.0 { 0.0 } else { round(part / whole, 4) };
    (share(sum(&|theirs, _| theirs), topics.all.len() as f64), share(sum(&f64::min), sum(&f64::max)))
}

/// Strengths, weaknesses and publishing frequency: from the stored analysis if it names the competitor, else the
/// advantages in the competitor's own analysis.
fn points(row: &CompetitorRow, stored: &Json) -> (Vec<String>, Vec<String>, Option<String>) {
    let first = |value: &Json| strings(value).into_iter().take(POINTS_MAX).collect::<Vec<_>>();
    let names_it = |item: &&Json| text(member(item, "competitor")).is_some_and(|name| host(&name) == row.domain);
    match stored.as_array().and_then(|items| items.iter().find(names_it)) {
        Some(item) => (
            first(member(item, "strengths")),
            first(member(item, "weaknesses")),
            text(member(item, "content_frequency")),
        ),
        None => (first(path(&row.analysis_data, "competitive_analysis.competitive_advantages")), Vec::new(), None),
    }
}
