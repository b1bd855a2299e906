//! The subject of an analysis, as both the rules and the model's input read it.

use serde_json::Value as Json;

use crate::aggregate::{
    rows::{Onboarding, Strategy},
    value::{ABSENT, Pillar, filled},
};

/// The provenance of values that a rule table supplied.
const RULE_DEFAULT: &str = "rule_default";

#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) onboarding: &'a Onboarding,
    strategy: Option<&'a Strategy>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(onboarding: &'a Onboarding, strategy: Option<&'a Strategy>) -> Self {
        Self { onboarding, strategy }
    }

    /// The strategy's industry, else onboarding's.
    pub(super) fn industry(&self) -> Option<&'a str> {
        self.words("industry").or_else(|| known(self.onboarding.data.industry.as_deref()))
    }

    /// The strategy's target audience, else onboarding's; `Null` if neither is filled.
    pub(super) fn audience(&self) -> Json {
        let stated = self.column("target_audience");
        if filled(stated) {
            return stated.clone();
        }
        let onboarded = self.onboarding.data.target_audience.as_ref();
        onboarded.and_then(|value| serde_json::to_value(value).ok()).filter(filled).unwrap_or_default()
    }

    pub(super) fn pillars(&self) -> &'a [Pillar] {
        self.strategy.map_or(&[], |strategy| &strategy.pillars)
    }

    /// A column of the strategy; absent without a strategy.
    pub(super) fn column(&self, name: &str) -> &'a Json {
        self.strategy.map_or(&ABSENT, |strategy| &strategy.row[name])
    }

    /// A text column of the strategy, trimmed, if filled.
    pub(super) fn words(&self, name: &str) -> Option<&'a str> {
        known(self.column(name).as_str())
    }

    /// The provenance of a list of onboarding; none if a rule table supplied it, or it is empty.
    pub(super) fn provenance(&self, list: &str) -> Option<&'a str> {
        let source = self.onboarding.data.sources.get(list)?;
        (source != RULE_DEFAULT).then_some(source.as_str())
    }

    pub(super) fn content_gaps(&self) -> &'a [String] {
        self.onboarding.data.gap_analysis.as_ref().map_or(&[], |gaps| &gaps.content_gaps)
    }

    pub(super) fn keywords(&self) -> &'a [String] {
        self.onboarding.data.keyword_analysis.as_ref().map_or(&[], |keywords| &keywords.high_value_keywords)
    }
}

fn known(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
