//! What an analysis is about: the words that the rules and the model's input have in common.

use serde_json::Value as Json;

use crate::aggregate::{
    rows::{Onboarding, Strategy, StrategyRow},
    value::{ABSENT, Pillar, filled},
};

/// The provenance of values that a rule table made up for want of better ones.
const RULE_DEFAULT: &str = "rule_default";

/// One user's rows, read together.
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
        self.words(|row| row.industry.as_ref()).or_else(|| known(self.onboarding.data.industry.as_ref()))
    }

    /// The strategy's target audience, else onboarding's; `Null` if neither is filled.
    pub(super) fn audience(&self) -> Json {
        let stated = self.column(|row| &row.target_audience);
        if filled(stated) {
            return stated.clone();
        }
        let onboarded = self.onboarding.data.target_audience.as_ref();
        onboarded.and_then(|value| serde_json::to_value(value).ok()).filter(filled).unwrap_or_default()
    }

    /// The strategy's pillars.
    pub(super) fn pillars(&self) -> &'a [Pillar] {
        self.strategy.map_or(&[], |strategy| &strategy.pillars)
    }

    /// A JSON column of the strategy; absent without a strategy.
    pub(super) fn column(&self, of: impl Fn(&'a StrategyRow) -> &'a Json) -> &'a Json {
        self.strategy.map_or(&ABSENT, |strategy| of(&strategy.row))
    }

    /// A text column of the strategy, trimmed, if filled.
    pub(super) fn words(&self, of: impl Fn(&'a StrategyRow) -> Option<&'a String>) -> Option<&'a str> {
        known(self.strategy.and_then(|strategy| of(&strategy.row)))
    }

    /// Where onboarding found a list; none if a rule table had to stand in, or there is nothing.
    pub(super) fn provenance(&self, list: &str) -> Option<&'a str> {
        let source = self.onboarding.data.sources.get(list)?;
        (source != RULE_DEFAULT).then_some(source.as_str())
    }

    /// What the site itself lacks.
    pub(super) fn content_gaps(&self) -> &'a [String] {
        self.onboarding.data.gap_analysis.as_ref().map_or(&[], |gaps| &gaps.content_gaps)
    }

    /// The keywords that onboarding found worth most.
    pub(super) fn keywords(&self) -> &'a [String] {
        self.onboarding.data.keyword_analysis.as_ref().map_or(&[], |keywords| &keywords.high_value_keywords)
    }
}

fn known(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}
