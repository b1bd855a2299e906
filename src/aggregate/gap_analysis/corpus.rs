//! The terms of all compared texts: in which passages they occur, and how strongly each side covers them.

use std::collections::{BTreeMap, HashMap};

use super::{
    input::GapInput,
    passages::{self, Passage},
    terms::{Word, terms, words},
};
use crate::aggregate::rows::CompetitorRow;

/// BM25's usual constants: K1 for the saturation of repeated terms, B for the weight of length.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The texts of both sides.
#[derive(Debug)]
pub(super) struct Corpus<'a> {
    /// The competitors with at least one kept word.
    pub competitors: Vec<Competitor<'a>>,
    /// The terms of the competitors' passages, in code-point order.
    pub terms: BTreeMap<String, Occurrences>,
    /// Weighted occurrences by term in the user's own passages.
    own: HashMap<String, f64>,
}

#[derive(Debug)]
pub(super) struct Competitor<'a> {
    pub row: &'a CompetitorRow,
    pub passages: Vec<Passage>,
    /// The number of kept words, each weighted by its passage.
    length: f64,
}

/// The occurrences of a term among the competitors.
#[derive(Debug, Default)]
pub(super) struct Occurrences {
    /// Weighted occurrences by the competitor's index in the corpus.
    pub by_competitor: BTreeMap<usize, f64>,
    /// The passages that contain it, as (competitor, passage), in order.
    pub passages: Vec<(usize, usize)>,
    /// The texts that have this stem, with their weights.
    texts: BTreeMap<String, f64>,
}

impl<'a> Corpus<'a> {
    pub(super) fn new(input: &GapInput<'a>) -> Self {
        let mut corpus = Self { competitors: Vec::new(), terms: BTreeMap::new(), own: HashMap::new() };
        for row in &input.onboarding.competitors {
            corpus.add_competitor(row);
        }
        for passage in passages::own(input) {
            for term in terms(&words(&passage.text)) {
                *corpus.own.entry(term.stems).or_default() += passage.weight;
            }
        }
        corpus
    }

    fn add_competitor(&mut self, row: &'a CompetitorRow) {
        let passages = passages::of_competitor(row);
        let texts: Vec<Vec<Word>> = passages.iter().map(|passage| words(&passage.text)).collect();
        if texts.iter().all(Vec::is_empty) {
            return;
        }
        let competitor = self.competitors.len();
        let mut length = 0.0;
        for (at, (passage, words)) in passages.iter().zip(&texts).enumerate() {
            length += passage.weight * words.len() as f64;
            for term in terms(words) {
                let occurrences = self.terms.entry(term.stems).or_default();
                *occurrences.by_competitor.entry(competitor).or_default() += passage.weight;
                *occurrences.texts.entry(term.text).or_default() += passage.weight;
                if occurrences.passages.last() != Some(&(competitor, at)) {
                    occurrences.passages.push((competitor, at));
                }
            }
        }
        self.competitors.push(Competitor { row, passages, length });
    }

    /// How well each competitor covers a term, 0 to 1, in the corpus's order.
    pub(super) fn coverage(&self, occurrences: &Occurrences) -> Vec<f64> {
        let mean = self.competitors.iter().map(|c| c.length).sum::<f64>() / self.competitors.len() as f64;
        let of = |(at, competitor): (usize, &Competitor<'_>)| {
            occurrences
                .by_competitor
                .get(&at)
                .map_or(0.0, |tf| tf / (tf + K1 * (1.0 - B + B * competitor.length / mean)))
        };
        self.competitors.iter().enumerate().map(of).collect()
    }

    /// How well the user covers a term, 0 to 1. Length does not count: publishing more must not lower it.
    pub(super) fn own_coverage(&self, term: &str) -> f64 {
        self.own.get(term).map_or(0.0, |tf| tf / (tf + K1))
    }

    /// How rare a term is among the competitors' passages.
    pub(super) fn idf(&self, occurrences: &Occurrences) -> f64 {
        let all = self.competitors.iter().map(|c| c.passages.len()).sum::<usize>() as f64;
        let with = occurrences.passages.len() as f64;
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }
}

impl Occurrences {
    /// Weighted occurrences in all competitors together.
    pub(super) fn total(&self) -> f64 {
        self.by_competitor.values().sum()
    }

    /// The text that is shown for the term: the one with most weight, then the shortest, then the first.
    pub(super) fn label(&self) -> &str {
        let order = |a: &(&String, &f64), b: &(&String, &f64)| {
            b.1.total_cmp(a.1).then_with(|| a.0.chars().count().cmp(&b.0.chars().count())).then_with(|| a.0.cmp(b.0))
        };
        self.texts.iter().min_by(order).map_or("", |(text, _)| text)
    }
}
