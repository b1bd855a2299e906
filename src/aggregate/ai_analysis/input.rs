//! The model's input about a user: equal situations give equal texts.
//!
//! The canonical JSON is the message to the model, and the response key is made from it. It holds no ids, no address of
//! the user's site, no dates and no analytics. Competitors' texts are untrusted; they appear only inside JSON strings.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::subject::Subject;
use crate::{
    aggregate::{
        rows::{CompetitorRow, by_relevance},
        value::{filled, first_filled, member, number, path, round, strings, text},
    },
    config::{Structured, TokenLimitField},
    model::canonical::{CanonicalError, canonical_json},
    proto::{Kind, Struct, Value},
};

/// Limit of the canonical JSON: it bounds the cost of a call, and models attend less to longer inputs.
const BYTES_MAX: usize = 24 * 1024;
const AUDIENCE_BYTES_MAX: usize = 2 * 1024;
const PILLARS_MAX: usize = 12;
const COMPETITORS_MAX: usize = 8;
/// For a competitor's summary and a pillar's description.
const PROSE_CHARS_MAX: usize = 400;
/// For any other text, as in a list that [`strings`] reads.
const WORDS_CHARS_MAX: usize = 300;

/// The parts that are left out, in this order, until the rest is small enough: first three that are long and say least,
/// then whole keys.
const OMISSIONS: [Omission; 13] = [
    Omission::Of("competitors", "summary"),
    Omission::Of("pillars", "description"),
    Omission::Key("target_audience"),
    Omission::Key("content_gaps"),
    Omission::Key("market_gaps"),
    Omission::Key("pain_points"),
    Omission::Key("content_types"),
    Omission::Key("preferred_formats"),
    Omission::Key("brand_values"),
    Omission::Key("keywords"),
    Omission::Key("competitors"),
    Omission::Key("business_objectives"),
    Omission::Key("pillars"),
];

#[derive(Clone, Copy, Debug)]
enum Omission {
    Key(&'static str),
    /// This member of each element of the key's list.
    Of(&'static str, &'static str),
}

/// The model's input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input {
    object: Struct,
    text: String,
}

impl Input {
    /// None if the subject has none of the values that a model needs.
    pub(super) fn new(subject: &Subject<'_>) -> Option<Self> {
        let known = subject.industry().is_some()
            || !subject.pillars().is_empty()
            || !strings(subject.column("business_objectives")).is_empty()
            || (subject.provenance("high_value_keywords").is_some() && !subject.keywords().is_empty())
            || !subject.onboarding.competitors.is_empty();
        known.then(|| Self::fitting(collect(subject)))
    }

    /// Applies as many omissions as needed.
    fn fitting(mut members: BTreeMap<&'static str, Json>) -> Self {
        let mut omissions = OMISSIONS.iter();
        loop {
            let object = Struct {
                fields: members.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect(),
            };
            match canonical_json(&object) {
                Ok(text) if text.len() <= BYTES_MAX => return Self { object, text },
                Ok(_) | Err(CanonicalError::TooDeep | CanonicalError::NotFinite) => {}
            }
            let omission =
                omissions.next().expect("what is never left out is five texts of 300 characters and two numbers");
            match *omission {
                Omission::Key(key) => *members.entry(key).or_default() = Json::Null,
                Omission::Of(key, inner) => {
                    for element in members.get_mut(key).and_then(Json::as_array_mut).into_iter().flatten() {
                        element[inner] = Json::Null;
                    }
                }
            }
        }
    }

    /// The canonical JSON.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The key of the response to this input.
    pub(super) fn response_key(&self, asking: &Asking<'_>) -> ResponseKey {
        let word = |text: &str| Value::from(Kind::StringValue(text.to_owned()));
        let number = |number: f64| Value::from(Kind::NumberValue(number));
        let mut fields = BTreeMap::from([
            ("input", Kind::StructValue(self.object.clone()).into()),
            ("max_output_tokens", number(asking.max_output_tokens.into())),
            ("model", word(asking.model)),
            ("prompt_version", word(asking.prompt_version)),
            ("structured", word(asking.structured.name())),
        ]);
        fields.extend(asking.temperature.map(|temperature| ("temperature", number(temperature))));
        // With the default the key is that of responses from before this setting.
        if asking.token_limit_field != TokenLimitField::MaxTokens {
            fields.insert("token_limit_field", word(asking.token_limit_field.name().unwrap_or("none")));
        }
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let text = canonical_json(&Struct { fields })
            .expect("the input has a canonical form, and its columns are at most 24 of 32 levels deep");
        ResponseKey(hex::encode(Sha256::digest(text)))
    }
}

/// The parameters that a response depends on besides the input. The endpoint's address is none of them: the same model
/// behind another address gives the same responses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) model: &'a str,
    pub(super) prompt_version: &'a str,
    pub(super) temperature: Option<f64>,
    pub(super) max_output_tokens: u32,
    pub(super) token_limit_field: TokenLimitField,
    pub(super) structured: Structured,
}

/// Hex SHA-256 of the input and of the parameters of the call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResponseKey(String);

impl ResponseKey {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn collect(subject: &Subject<'_>) -> BTreeMap<&'static str, Json> {
    let data = &subject.onboarding.data;
    let pillars = subject.pillars().iter().take(PILLARS_MAX).map(|pillar| {
        json!({
            "name": cut(&pillar.name, WORDS_CHARS_MAX),
            "description": pillar.description.as_ref().map(|text| cut(text, PROSE_CHARS_MAX)),
            "topics": list(&pillar.topics, 8),
        })
    });
    let competitors = by_relevance(&subject.onboarding.competitors).into_iter().take(COMPETITORS_MAX).map(competitor);
    BTreeMap::from([
        ("industry", words(subject.industry())),
        ("target_audience", audience(subject)),
        (
            "writing",
            json!({
                "tone": words(Some(&data.writing_tone)),
                "voice": words(Some(&data.writing_voice)),
                "complexity": words(Some(&data.writing_complexity)),
            }),
        ),
        ("brand_values", list(&data.brand_values, 10)),
        ("content_types", list(&data.content_types, 20)),
        ("pillars", known(pillars.collect())),
        ("business_objectives", list(&strings(subject.column("business_objectives")), 10)),
        ("pain_points", list(&strings(subject.column("audience_pain_points")), 10)),
        ("preferred_formats", list(&strings(subject.column("preferred_formats")), 10)),
        ("content_frequency", words(subject.words("content_frequency"))),
        ("market_gaps", list(&strings(subject.column("market_gaps")), 10)),
        ("competitors", known(competitors.collect())),
        ("content_gaps", list(subject.content_gaps(), 10)),
        ("keywords", list(subject.keywords(), 20)),
        ("seo", json!({ "site": site_score(subject), "homepage": homepage_score(subject) })),
    ])
}

fn audience(subject: &Subject<'_>) -> Json {
    let audience = subject.audience();
    if audience.to_string().len() <= AUDIENCE_BYTES_MAX { audience } else { Json::Null }
}

fn competitor(row: &CompetitorRow) -> Json {
    // The place of the texts depends on the writer of the row; gap analysis reads the same places.
    let first_text = |paths: [&str; 3]| first_filled(paths.map(|at| path(&row.analysis_data, at))).and_then(text);
    let title = first_text(["title", "crawl_result.title", "crawl_result.meta_info.title"]);
    let summary = first_text(["summary", "crawl_result.description", "crawl_result.meta_info.description"]);
    json!({
        "domain": words(Some(&row.domain)),
        "title": words(title.as_deref()),
        "summary": summary.map(|text| cut(&text, PROSE_CHARS_MAX)),
    })
}

/// The mean score of the site's audited pages. Without a scored page, the summary's mean is 0 and not used.
fn site_score(subject: &Subject<'_>) -> Option<f64> {
    let summary = subject.onboarding.data.seo_profile.as_ref()?.full_site_seo_summary.as_ref()?;
    (summary.pages_scored > 0).then(|| round(summary.avg_score, 0))
}

fn homepage_score(subject: &Subject<'_>) -> Option<f64> {
    number(member(&subject.onboarding.website.seo_audit, "overall_score")).map(|score| round(score, 0))
}

/// A text, or `Null` if it is empty.
fn words(text: Option<&str>) -> Json {
    text.map(|text| Json::from(cut(text, WORDS_CHARS_MAX))).filter(filled).unwrap_or_default()
}

/// The first texts of a list, or `Null` if it is empty.
fn list(texts: &[String], max: usize) -> Json {
    known(texts.iter().take(max).map(|text| cut(text, WORDS_CHARS_MAX).into()).collect())
}

fn known(items: Vec<Json>) -> Json {
    if items.is_empty() { Json::Null } else { Json::Array(items) }
}

fn cut(text: &str, chars_max: usize) -> String {
    text.trim().chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests;
