//! The topics: which of the competitors' terms they are, and how well competitors and the user cover each.

use std::collections::HashSet;

use super::{
    corpus::{Corpus, Occurrences},
    keywords::Keywords,
};

/// More topics would be noise, and each adds one number per competitor.
const TOPICS_MAX: usize = 200;

/// The topics, most salient first.
#[derive(Debug)]
pub(super) struct Topics<'a> {
    pub all: Vec<Topic<'a>>,
}

/// Its numbers are not rounded.
#[derive(Debug)]
pub(super) struct Topic<'a> {
    pub stems: &'a str,
    /// The term as it is shown.
    pub label: &'a str,
    /// The passages of competitors that contain it, as (competitor, passage).
    pub passages: &'a [(usize, usize)],
    /// How well each competitor covers it, in the corpus's order.
    pub coverage: Vec<f64>,
    /// The mean of `coverage`.
    pub competitor_coverage: f64,
    pub own_coverage: f64,
    /// 0.5 (unknown) to 1.
    pub demand: f64,
    pub idf: f64,
}

impl Topic<'_> {
    /// How far the user lacks a topic that competitors cover and that is in demand, 0 to 1.
    pub(super) fn gap_score(&self) -> f64 {
        self.competitor_coverage * (1.0 - self.own_coverage) * self.demand
    }
}

impl<'a> Topics<'a> {
    /// Topics are terms that occur at least twice, and with more than one competitor if there are three. A single stem
    /// that occurs only in a pair is left out in favour of the pair.
    pub(super) fn find(corpus: &'a Corpus<'_>, keywords: &Keywords) -> Self {
        let competitors_min = if corpus.competitors.len() >= 3 { 2 } else { 1 };
        let frequent: Vec<(&str, &Occurrences)> = corpus
            .terms
            .iter()
            .filter(|(_, found)| found.total() >= 2.0 && found.by_competitor.len() >= competitors_min)
            .map(|(term, found)| (term.as_str(), found))
            .collect();
        let paired: HashSet<(&str, usize)> = frequent
            .iter()
            .filter_map(|(term, found)| Some((term.split_once(' ')?, found.passages.len())))
            .flat_map(|((first, second), passages)| [(first, passages), (second, passages)])
            .collect();

        let mut salient: Vec<(f64, &str, &Occurrences)> = frequent
            .into_iter()
            .filter(|(term, found)| !paired.contains(&(*term, found.passages.len())))
            .map(|(term, found)| (corpus.idf(found) * found.total(), term, found))
            .collect();
        salient.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        salient.truncate(TOPICS_MAX);

        let topic = |(_, stems, found): (f64, &'a str, &'a Occurrences)| {
            let coverage = corpus.coverage(found);
            Topic {
                stems,
                label: found.label(),
                passages: &found.passages,
                competitor_coverage: coverage.iter().sum::<f64>() / coverage.len() as f64,
                coverage,
                own_coverage: corpus.own_coverage(stems),
                demand: keywords.demand(stems),
                idf: corpus.idf(found),
            }
        };
        Self { all: salient.into_iter().map(topic).collect() }
    }
}
