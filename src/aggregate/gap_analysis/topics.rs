//! Which of the competitors' terms are topics, and how each stands between them and the user.

use std::collections::HashSet;

use super::{
    corpus::{Corpus, Occurrences},
    keywords::Keywords,
};

/// Topics at most: more are noise, and every further one costs each competitor a figure.
const TOPICS_MAX: usize = 200;

/// The set that everything else is told of, the most salient first.
#[derive(Debug)]
pub(super) struct Topics<'a> {
    pub all: Vec<Topic<'a>>,
}

/// A term worth talking about. All figures are unrounded.
#[derive(Debug)]
pub(super) struct Topic<'a> {
    /// The term.
    pub stems: &'a str,
    /// The term in words.
    pub label: &'a str,
    /// Passages of competitors that contain it, as (competitor, passage).
    pub passages: &'a [(usize, usize)],
    /// How well each competitor covers it, in the corpus's order.
    pub coverage: Vec<f64>,
    /// The mean of `coverage`.
    pub competitor_coverage: f64,
    /// How well the user covers it.
    pub own_coverage: f64,
    /// Whether people search for it: 0.5 (unknown) to 1.
    pub demand: f64,
    /// How rare it is.
    pub idf: f64,
}

impl Topic<'_> {
    /// How much of what competitors cover and people look for is missing, 0 to 1.
    pub(super) fn gap_score(&self) -> f64 {
        self.competitor_coverage * (1.0 - self.own_coverage) * self.demand
    }
}

impl<'a> Topics<'a> {
    /// Finds them: terms that are used more than in passing, by more than one competitor where there
    /// are three; a single stem that only ever occurs in a pair is that pair.
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
