//! The user's keywords: their search volume, competition and opportunity score.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::{corpus::Corpus, terms::words};
use crate::{
    aggregate::{
        rows::Onboarding,
        value::{ABSENT, first_filled, member, number, round, score01, text},
    },
    proto::v1::{GapOrigin, KeywordOpportunity},
};

const KEYWORDS_MAX: usize = 200;
const OPPORTUNITIES_MAX: usize = 30;
/// The value of an unknown volume or competition.
const MIDDLE: f64 = 0.5;

/// Distinct keywords.
#[derive(Debug)]
pub(super) struct Keywords {
    list: Vec<Keyword>,
    /// The greatest numeric volume.
    volume_max: f64,
    origin: GapOrigin,
}

#[derive(Debug)]
struct Keyword {
    text: String,
    stems: Vec<String>,
    volume: Option<Volume>,
    competition: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
enum Volume {
    /// Searches; not negative.
    Searches(f64),
    /// A word such as "high", as a share of the greatest.
    Share(f64),
}

impl Keywords {
    /// The stored keywords; without any, those of the rule tables, which have no measured volume.
    pub(super) fn of(onboarding: &Onboarding) -> Self {
        let opportunities = member(&onboarding.gap.analysis_results, "keyword_opportunities");
        let stored: Vec<_> = listed(opportunities).into_iter().chain(listed(&onboarding.gap.target_keywords)).collect();
        if !stored.is_empty() {
            return Self::distinct(stored, GapOrigin::Computed);
        }
        let rules = onboarding.data.keyword_analysis.as_ref().map_or(&[][..], |analysis| &analysis.high_value_keywords);
        Self::distinct(rules.iter().map(|keyword| (keyword.clone(), &ABSENT)).collect(), GapOrigin::RuleDefault)
    }

    /// Keywords with the same stems in the same order are one: it gets the first text, and each attribute from the
    /// first keyword that has it.
    fn distinct(found: Vec<(String, &Json)>, origin: GapOrigin) -> Self {
        let mut list: Vec<Keyword> = Vec::new();
        let mut places: HashMap<(Vec<String>, String), usize> = HashMap::new();
        for (text, attributes) in found {
            let stems: Vec<String> = words(&text).into_iter().map(|word| word.stem).collect();
            let lower_case = if stems.is_empty() { text.to_lowercase() } else { String::new() };
            let (volume, competition) = (volume(attributes), competition(attributes));
            let key = (stems, lower_case);
            if let Some(at) = places.get(&key) {
                let known = &mut list[*at];
                known.volume = known.volume.or(volume);
                known.competition = known.competition.or(competition);
            } else if list.len() < KEYWORDS_MAX {
                list.push(Keyword { text, stems: key.0.clone(), volume, competition });
                places.insert(key, list.len() - 1);
            }
        }
        let searches = list.iter().filter_map(|keyword| match keyword.volume? {
            Volume::Searches(searches) => Some(searches),
            Volume::Share(_) => None,
        });
        let volume_max = searches.fold(0.0, f64::max);
        Self { list, volume_max, origin }
    }

    /// The demand for a term: 0.5 if no stored keyword has all its stems, up to 1 for the one with most searches.
    /// Keywords of the rule tables do not count.
    pub(super) fn demand(&self, term: &str) -> f64 {
        if self.origin == GapOrigin::RuleDefault {
            return MIDDLE;
        }
        self.list
            .iter()
            .filter(|keyword| term.split(' ').all(|stem| keyword.stems.iter().any(|own| own == stem)))
            .map(|keyword| MIDDLE + MIDDLE * self.relative_volume(keyword))
            .fold(MIDDLE, f64::max)
    }

    /// The opportunities, best first.
    pub(super) fn opportunities(&self, corpus: &Corpus<'_>) -> Vec<KeywordOpportunity> {
        let mut opportunities: Vec<_> = self.list.iter().map(|keyword| self.opportunity(keyword, corpus)).collect();
        opportunities.sort_by(|a, b| {
            b.opportunity_score
                .total_cmp(&a.opportunity_score)
                .then_with(|| b.search_volume.cmp(&a.search_volume))
                .then_with(|| a.keyword.cmp(&b.keyword))
        });
        opportunities.truncate(OPPORTUNITIES_MAX);
        opportunities
    }

    fn opportunity(&self, keyword: &Keyword, corpus: &Corpus<'_>) -> KeywordOpportunity {
        let own = keyword.stems.iter().map(|stem| corpus.own_coverage(stem)).reduce(f64::min).unwrap_or(0.0);
        let competition = keyword.competition.unwrap_or(MIDDLE);
        let score = 100.0 * self.relative_volume(keyword) * (1.0 - 0.6 * competition) * (1.0 - 0.5 * own);
        KeywordOpportunity {
            keyword: keyword.text.clone(),
            search_volume: keyword.volume.and_then(Volume::searches),
            competition: keyword.competition.map(|competition| round(competition, 4)),
            own_coverage: Some(round(own, 4)),
            opportunity_score: round(score, 2),
            origin: self.origin.into(),
        }
    }

    /// The volume on a logarithmic scale, as a share of the greatest.
    fn relative_volume(&self, keyword: &Keyword) -> f64 {
        match keyword.volume {
            None => MIDDLE,
            Some(Volume::Share(share)) => share,
            Some(Volume::Searches(_)) if self.volume_max == 0.0 => 0.0,
            Some(Volume::Searches(searches)) => searches.ln_1p() / self.volume_max.ln_1p(),
        }
    }
}

impl Volume {
    /// The integer of the contract; absent if the volume is a word or does not fit.
    fn searches(self) -> Option<i64> {
        match self {
            #[expect(clippy::cast_possible_truncation, reason = "checked: far below 2^63")]
            Self::Searches(searches) if searches < 9e18 => Some(searches.round() as i64),
            _ => None,
        }
    }
}

/// The elements of a list (texts and objects), or the keys of an object, each with its attributes.
fn listed(value: &Json) -> Vec<(String, &Json)> {
    match value {
        Json::Array(items) => items.iter().filter_map(element).collect(),
        Json::Object(entries) => entries
            .iter()
            .map(|(keyword, attributes)| (keyword.trim().to_owned(), attributes))
            .filter(|(keyword, _)| !keyword.is_empty())
            .collect(),
        _ => Vec::new(),
    }
}

/// An element's keyword, if it has one, and its attributes.
fn element(item: &Json) -> Option<(String, &Json)> {
    match item {
        Json::String(_) => Some((text(item)?, &ABSENT)),
        _ => Some((text(first_filled(["keyword", "term", "name"].map(|key| member(item, key)))?)?, item)),
    }
}

fn volume(attributes: &Json) -> Option<Volume> {
    let places = [member(attributes, "search_volume"), member(attributes, "volume")];
    if let Some(searches) = places.into_iter().find_map(number) {
        return (searches >= 0.0).then_some(Volume::Searches(searches));
    }
    places.into_iter().find_map(|place| match place.as_str()?.trim().to_lowercase().as_str() {
        "low" => Some(Volume::Share(0.25)),
        "medium" => Some(Volume::Share(0.5)),
        "high" => Some(Volume::Share(0.75)),
        _ => None,
    })
}

fn competition(attributes: &Json) -> Option<f64> {
    score01(member(attributes, "competition")).or_else(|| score01(member(attributes, "difficulty")))
}
