//! The gaps: computed ones with their evidence, then stored ones.

use serde_json::Value as Json;

use super::{
    corpus::Corpus,
    terms::stems,
    topics::{Topic, Topics},
};
use crate::{
    aggregate::{
        rows::GapRow,
        value::{count, element_text, level, member, number, round, score01},
    },
    proto::v1::{ContentGap, Evidence, GapOrigin},
};

const COMPUTED_MAX: usize = 20;
const STORED_MAX: usize = 10;
const EVIDENCE_MAX: usize = 3;
const EVIDENCE_CHARS_MAX: usize = 160;
/// Below this, the user covers a topic well enough, or few competitors cover it.
const GAP_SCORE_MIN: f64 = 0.05;

/// The topics that competitors cover and the user does not, the widest gap first.
pub(super) fn computed(corpus: &Corpus<'_>, topics: &Topics<'_>) -> Vec<ContentGap> {
    let mut gaps: Vec<(f64, f64, &Topic<'_>)> = topics
        .all
        .iter()
        .map(|topic| (round(topic.gap_score(), 4), round(topic.competitor_coverage, 4), topic))
        .filter(|(gap_score, ..)| *gap_score >= GAP_SCORE_MIN)
        .collect();
    gaps.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| b.1.total_cmp(&a.1)).then_with(|| a.2.stems.cmp(b.2.stems)));
    gaps.truncate(COMPUTED_MAX);
    gaps.into_iter()
        .map(|(gap_score, competitor_coverage, topic)| ContentGap {
            topic: topic.label.to_owned(),
            gap_score: Some(gap_score),
            opportunity_size: size(gap_score).to_owned(),
            priority: size(gap_score).to_owned(),
            competitor_coverage: Some(competitor_coverage),
            own_coverage: Some(round(topic.own_coverage, 4)),
            demand: Some(round(topic.demand, 4)),
            competitors_covering: Some(count(topic.coverage.iter().filter(|c| **c > 0.0).count())),
            evidence: evidence(corpus, topic),
            origin: GapOrigin::Computed.into(),
        })
        .collect()
}

fn size(gap_score: f64) -> &'static str {
    match gap_score {
        0.30.. => "high",
        0.15.. => "medium",
        _ => "low",
    }
}

/// The passages of greatest weight with the topic.
fn evidence(corpus: &Corpus<'_>, topic: &Topic<'_>) -> Vec<Evidence> {
    let mut places: Vec<_> = topic
        .passages
        .iter()
        .map(|(competitor, passage)| {
            let competitor = &corpus.competitors[*competitor];
            (&competitor.row.domain, &competitor.passages[*passage])
        })
        .collect();
    // Stable: passages of one competitor stay in their order.
    places.sort_by(|(a_domain, a), (b_domain, b)| b.weight.total_cmp(&a.weight).then_with(|| a_domain.cmp(b_domain)));
    places
        .into_iter()
        .take(EVIDENCE_MAX)
        .map(|(domain, passage)| Evidence {
            competitor: domain.clone(),
            field: passage.field.clone(),
            text: cut(&passage.text),
        })
        .collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= EVIDENCE_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(EVIDENCE_CHARS_MAX - 1).chain(['…']).collect()
}

/// The stored gaps that are not among the topics, in their order.
pub(super) fn stored(row: &GapRow, topics: &Topics<'_>) -> Vec<ContentGap> {
    let Some(items) = member(&row.analysis_results, "content_gaps").as_array() else { return Vec::new() };
    let score = |item: &Json| number(member(item, "gap_score"));
    let of_hundred = items.iter().filter_map(score).any(|score| score > 1.0);
    let is_topic = |topic: &str| {
        let stems = stems(topic);
        topics.all.iter().any(|known| known.stems == stems)
    };
    items
        .iter()
        .filter_map(|item| Some((element_text(item)?.trim(), item)))
        .filter(|(topic, _)| !topic.is_empty() && !is_topic(topic))
        .take(STORED_MAX)
        .map(|(topic, item)| {
            let size = level(member(item, "opportunity_size"));
            let score = score(item).map(|score| if of_hundred { score / 100.0 } else { score });
            ContentGap {
                topic: topic.to_owned(),
                gap_score: score.filter(|score| (0.0..=1.0).contains(score)).map(|score| round(score, 4)),
                opportunity_size: size.to_owned(),
                priority: size.to_owned(),
                competitor_coverage: score01(member(item, "competitor_coverage")).map(|share| round(share, 4)),
                origin: GapOrigin::Stored.into(),
                ..ContentGap::default()
            }
        })
        .collect()
}
