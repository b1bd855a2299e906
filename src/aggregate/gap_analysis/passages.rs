//! The texts that are compared, each with the weight of its place: a title says more about the subject of a page than
//! its summary does.

use serde_json::Value as Json;

use super::input::GapInput;
use crate::aggregate::{
    rows::CompetitorRow,
    value::{first_filled, member, path, strings, text},
};

/// Limits per competitor: one that was crawled deeply must not outweigh the others.
const PASSAGES_MAX: usize = 60;
const BYTES_MAX: usize = 16 * 1024;
/// The members of `content_insights` that name topics.
const TOPIC_LISTS: [&str; 5] = ["topics", "themes", "keywords", "main_topics", "content_focus"];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Passage {
    /// Its place as evidence names it, such as `subpages[2].title`.
    pub field: String,
    pub text: String,
    pub weight: f64,
}

impl Passage {
    fn new(field: impl Into<String>, text: String, weight: f64) -> Self {
        Self { field: field.into(), text, weight }
    }
}

/// A competitor's title: the stored one, else the crawled one.
pub(super) fn title(competitor: &CompetitorRow) -> Option<String> {
    let places = ["title", "crawl_result.title", "crawl_result.meta_info.title"];
    text(first_filled(places.map(|place| path(&competitor.analysis_data, place)))?)
}

/// A competitor's passages, up to the first that would exceed the limits.
pub(super) fn of_competitor(competitor: &CompetitorRow) -> Vec<Passage> {
    let data = &competitor.analysis_data;
    let subpages: &[Json] = member(data, "subpages").as_array().map_or(&[], Vec::as_slice);
    let summary = ["summary", "crawl_result.description", "crawl_result.meta_info.description"];

    let mut passages = Vec::new();
    passages.extend(title(competitor).map(|title| Passage::new("title", title, 3.0)));
    passages.extend(
        strings(member(data, "highlights"))
            .into_iter()
            .enumerate()
            .map(|(at, highlight)| Passage::new(format!("highlights[{at}]"), highlight, 2.0)),
    );
    passages.extend(subpages.iter().enumerate().filter_map(|(at, page)| {
        Some(Passage::new(format!("subpages[{at}].title"), text(member(page, "title"))?, 2.0))
    }));
    passages.extend(
        first_filled(summary.map(|place| path(data, place)))
            .and_then(text)
            .map(|summary| Passage::new("summary", summary, 1.0)),
    );
    passages.extend(subpages.iter().enumerate().filter_map(|(at, page)| {
        let (key, value) = ["summary", "text"].into_iter().find_map(|key| Some((key, text(member(page, key))?)))?;
        Some(Passage::new(format!("subpages[{at}].{key}"), value, 1.0))
    }));
    passages.extend(TOPIC_LISTS.into_iter().flat_map(|list| {
        strings(member(member(data, "content_insights"), list))
            .into_iter()
            .map(move |topic| Passage::new(format!("content_insights.{list}"), topic, 2.0))
    }));

    let mut bytes = 0;
    let fitting = passages
        .iter()
        .take(PASSAGES_MAX)
        .take_while(|passage| {
            bytes += passage.text.len();
            bytes <= BYTES_MAX
        })
        .count();
    passages.truncate(fitting);
    passages
}

/// The passages that the user has published or planned.
pub(super) fn own(input: &GapInput<'_>) -> Vec<Passage> {
    let pillars = input.strategy.map_or(&[][..], |strategy| &strategy.pillars);
    let website = &input.onboarding.website;

    let mut passages = Vec::new();
    for pillar in pillars {
        passages.push(Passage::new("pillar", pillar.name.clone(), 3.0));
        passages.extend(pillar.topics.iter().map(|topic| Passage::new("pillar.topics", topic.clone(), 2.0)));
        passages.extend(pillar.description.clone().map(|text| Passage::new("pillar.description", text, 1.0)));
    }
    for event in input.events {
        passages.push(Passage::new("event", event.title.clone(), 2.0));
        passages.extend(event.description.clone().map(|text| Passage::new("event.description", text, 1.0)));
    }
    let strengths = strings(member(&website.content_strategy_insights, "strengths"));
    passages.extend(strengths.into_iter().map(|strength| Passage::new("strengths", strength, 1.0)));
    passages.extend(
        ["brand_positioning", "competitive_differentiation"]
            .into_iter()
            .filter_map(|key| Some(Passage::new(key, text(member(&website.brand_analysis, key))?, 1.0))),
    );
    passages
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(data: Json) -> Vec<(String, String, f64)> {
        let competitor = CompetitorRow { analysis_data: data, ..CompetitorRow::default() };
        of_competitor(&competitor).into_iter().map(|p| (p.field, p.text, p.weight)).collect()
    }

    #[test]
    fn a_competitors_passages_come_in_their_order_with_their_weights() {
        let expected = [
            ("title", "Crawled", 3.0),
            ("highlights[0]", "one", 2.0),
            ("highlights[1]", "two", 2.0),
            ("subpages[1].title", "Page", 2.0),
            ("summary", "Described", 1.0),
            ("subpages[0].text", "Body", 1.0),
            ("subpages[1].summary", "Short", 1.0),
            ("content_insights.topics", "seo", 2.0),
            ("content_insights.content_focus", "b2b", 2.0),
        ];
        let actual = places(json!({
            "title": " ", "crawl_result": {"title": "Crawled", "meta_info": {"description": "Described"}},
            "highlights": ["one", "", "two"],
            "subpages": [{"text": "Body"}, {"title": "Page", "summary": "Short", "text": "unused"}, 7],
            "content_insights": {"content_focus": "b2b", "topics": ["seo"], "other": ["unused"]},
        }));
        let actual: Vec<_> = actual.iter().map(|(field, text, weight)| (&field[..], &text[..], *weight)).collect();
        assert_eq!(actual, expected);
    }

    #[test]
    fn nothing_after_the_first_passage_that_is_too_much() {
        let long = "x".repeat(16 * 1024 - 5);
        let cut = places(json!({"title": "12345", "summary": long, "content_insights": {"topics": ["y"]}}));
        assert_eq!(cut.iter().map(|p| &p.0[..]).collect::<Vec<_>>(), ["title", "summary"]);
        let subpages: Vec<_> = (0..100).map(|n| json!({"title": n.to_string()})).collect();
        assert_eq!(places(json!({"title": "t", "subpages": subpages})).len(), 60);
        assert!(places(json!("text")).is_empty());
    }
}
