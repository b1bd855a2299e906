//! The candidates of a rule, in their order, and the `sources` map that names the one that gave the value.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::aggregate::value::{filled, text};

/// The origin of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provenance {
    /// The persona's core.
    PersonaCore,
    /// The persona's other columns.
    PersonaData,
    WebsiteAnalysis,
    ResearchPreferences,
    CompetitorAnalyses,
    ContentGapAnalyses,
    SeoPageAudits,
    PlatformIntegrations,
    /// What an onboarding by LinkedIn left in the session.
    LinkedInOnboarding,
    /// A rule table.
    RuleDefault,
    /// A constant.
    Default,
}

impl Provenance {
    /// Its name in `sources`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PersonaCore => "persona_core",
            Self::PersonaData => "persona_data",
            Self::WebsiteAnalysis => "website_analysis",
            Self::ResearchPreferences => "research_preferences",
            Self::CompetitorAnalyses => "competitor_analyses",
            Self::ContentGapAnalyses => "content_gap_analyses",
            Self::SeoPageAudits => "seo_page_audits",
            Self::PlatformIntegrations => "platform_integrations",
            Self::LinkedInOnboarding => "linkedin_onboarding",
            Self::RuleDefault => "rule_default",
            Self::Default => "default",
        }
    }
}

/// A value and its origin.
pub(super) type Known<T> = (T, Provenance);

/// The first candidate that is a text.
pub(super) fn first_text<'a>(candidates: impl IntoIterator<Item = Known<&'a Json>>) -> Option<Known<String>> {
    candidates.into_iter().find_map(|(value, origin)| Some((text(value)?, origin)))
}

/// The first candidate that is filled, as stored.
pub(super) fn first_value<'a>(candidates: impl IntoIterator<Item = Known<&'a Json>>) -> Option<Known<&'a Json>> {
    candidates.into_iter().find(|(value, _)| filled(value))
}

/// The first list that has an element.
pub(super) fn first_list(candidates: impl IntoIterator<Item = Known<Vec<String>>>) -> Option<Known<Vec<String>>> {
    candidates.into_iter().find(|(list, _)| !list.is_empty())
}

/// The message's `sources`: a key is there only if its field has a value.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Notes the origin of a field's value and returns the value.
    pub(super) fn note<T>(&mut self, key: &str, (value, origin): Known<T>) -> T {
        self.0.insert(key.to_owned(), origin.name().to_owned());
        value
    }

    /// The same for a value that may be absent.
    pub(super) fn note_if_known<T>(&mut self, key: &str, known: Option<Known<T>>) -> Option<T> {
        known.map(|known| self.note(key, known))
    }

    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}
