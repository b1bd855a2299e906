//! The user's profile: industry, audience, writing, brand and platforms, each from the first of persona, website and
//! research preferences that has it.

use serde_json::Value as Json;

use super::{
    load::{Integrations, Persona, Research, Website},
    provenance::{Provenance, Sources, first_list, first_text, first_value},
    website,
};
use crate::{
    aggregate::value::{distinct, filled, member, path, strings, text},
    proto::{
        Struct, Value,
        v1::{ResearchPreferences, VisualStyle},
    },
};

pub(super) fn industry(
    web: &Website,
    res: &Research,
    per: &Persona,
    payload: &Json,
    sources: &mut Sources,
) -> Option<String> {
    let known = first_text([
        (member(&per.core, "industry"), Provenance::PersonaCore),
        (member(&web.target_audience, "industry_focus"), Provenance::WebsiteAnalysis),
        (member(&res.target_audience, "industry_focus"), Provenance::ResearchPreferences),
        (path(payload, "linkedin_onboarding_summary.profile.industry"), Provenance::LinkedInOnboarding),
    ]);
    sources.note_if_known("industry", known)
}

/// The audience as stored: text, list or object.
pub(super) fn target_audience(web: &Website, res: &Research, per: &Persona, sources: &mut Sources) -> Option<Value> {
    let known = first_value([
        (member(&per.core, "target_audience"), Provenance::PersonaCore),
        (member(&web.target_audience, "demographics"), Provenance::WebsiteAnalysis),
        (member(&web.target_audience, "target_audience"), Provenance::WebsiteAnalysis),
        (member(&res.target_audience, "demographics"), Provenance::ResearchPreferences),
        (member(&res.target_audience, "target_audience"), Provenance::ResearchPreferences),
    ]);
    sources.note_if_known("target_audience", known).cloned().map(Value::from)
}

/// One trait of the writing style. Each may come from another row.
#[derive(Debug)]
pub(super) struct WritingTrait {
    /// The message's field and its key in `sources`.
    field: &'static str,
    /// Its member of `writing_style`.
    member: &'static str,
    otherwise: &'static str,
}

pub(super) const TONE: WritingTrait = WritingTrait { field: "writing_tone", member: "tone", otherwise: "professional" };
pub(super) const VOICE: WritingTrait =
    WritingTrait { field: "writing_voice", member: "voice", otherwise: "authoritative" };
pub(super) const COMPLEXITY: WritingTrait =
    WritingTrait { field: "writing_complexity", member: "complexity", otherwise: "intermediate" };
pub(super) const ENGAGEMENT: WritingTrait =
    WritingTrait { field: "writing_engagement", member: "engagement_level", otherwise: "moderate" };

impl WritingTrait {
    pub(super) fn read(&self, web: &Website, res: &Research, sources: &mut Sources) -> String {
        let known = first_text([
            (member(&web.writing_style, self.member), Provenance::WebsiteAnalysis),
            (member(&res.writing_style, self.member), Provenance::ResearchPreferences),
        ]);
        sources.note(self.field, known.unwrap_or_else(|| (self.otherwise.to_owned(), Provenance::Default)))
    }
}

/// The preferred types, else those of the site, else the formats preferred on LinkedIn.
pub(super) fn content_types(web: &Website, res: &Research, payload: &Json, sources: &mut Sources) -> Vec<String> {
    let formats = path(payload, "linkedin_content_preferences.preferred_formats");
    let known = first_list([
        (strings(&res.content_types), Provenance::ResearchPreferences),
        (website::content_types(&web.content_type), Provenance::WebsiteAnalysis),
        (strings(formats), Provenance::LinkedInOnboarding),
    ]);
    sources.note_if_known("content_types", known).unwrap_or_default()
}

/// A list of the brand analysis; all of them share one key in `sources`.
pub(super) fn brand_list(web: &Website, key: &str, sources: &mut Sources) -> Vec<String> {
    let list = strings(member(&web.shared.brand_analysis, key));
    sources.note_if_known("brand_identity", first_list([(list, Provenance::WebsiteAnalysis)])).unwrap_or_default()
}

/// Absent if both parts are absent.
pub(super) fn visual_style(style_guidelines: &Json) -> Option<VisualStyle> {
    let style = VisualStyle {
        aesthetic: text(member(style_guidelines, "aesthetic")),
        visual_style: text(member(style_guidelines, "visual_style")),
    };
    (style != VisualStyle::default()).then_some(style)
}

/// The website's content strategy insights, if they are a non-empty object.
pub(super) fn strategy_insights(insights: &Json) -> Option<Struct> {
    insights.as_object().filter(|_| filled(insights)).cloned().map(Struct::from)
}

/// The selected platforms, else those that the persona describes, else those that the user has connected.
pub(super) fn platform_preferences(per: &Persona, integrations: &Integrations, sources: &mut Sources) -> Vec<String> {
    let mut described: Vec<String> =
        per.platform_personas.as_object().into_iter().flat_map(|personas| personas.keys().cloned()).collect();
    described.sort_unstable();
    let known = first_list([
        (platform_names(strings(&per.selected_platforms)), Provenance::PersonaData),
        (platform_names(described), Provenance::PersonaData),
        (platform_names(social_platforms(integrations)), Provenance::PlatformIntegrations),
    ]);
    sources.note_if_known("platform_preferences", known).unwrap_or_default()
}

/// The connected platforms on which content is published. The list of all connected ones also has analytics services
/// and the systems that websites are built with.
fn social_platforms(integrations: &Integrations) -> Vec<String> {
    let connected = |platforms: &Json| -> Vec<String> {
        let names = platforms.as_object().into_iter().flatten();
        names
            .filter(|(_, value)| !matches!(value, Json::Null | Json::Bool(false)))
            .map(|(name, _)| name.clone())
            .collect()
    };
    let social = connected(&integrations.social);
    if !social.is_empty() {
        return social;
    }
    let other: Vec<String> = [&integrations.analytics, &integrations.website].into_iter().flat_map(connected).collect();
    let is_other = |name: &String| ANALYTICS.contains(&name.as_str()) || other.contains(name);
    strings(&integrations.connected).into_iter().filter(|name| !is_other(name)).collect()
}

/// The planning application's names of analytics services.
const ANALYTICS: [&str; 4] = ["gsc", "bing", "ga4", "google_analytics"];

/// In lower case, with one name per platform.
fn platform_names(names: Vec<String>) -> Vec<String> {
    distinct(names.into_iter().map(|name| {
        let name = name.trim().to_lowercase();
        if name == "x" { "twitter".to_owned() } else { name }
    }))
}

/// The research preferences, with the planning application's defaults for absent columns.
pub(super) fn research_preferences(res: &Research) -> ResearchPreferences {
    ResearchPreferences {
        research_depth: res.depth().unwrap_or("Standard").to_owned(),
        content_types: strings(&res.content_types),
        auto_research: res.auto_research.unwrap_or(true),
        factual_content: res.factual_content.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn persona(core: Json) -> Persona {
        Persona { core, ..Persona::default() }
    }

    fn site(target_audience: Json) -> Website {
        Website { target_audience, ..Website::default() }
    }

    fn wishes(target_audience: Json) -> Research {
        Research { target_audience, ..Research::default() }
    }

    #[test]
    fn the_industry_is_the_first_text() {
        for (per, web, res, expected) in [
            (json!({"industry": " Finance "}), json!({"industry_focus": "b"}), json!(null), Some("Finance")),
            (json!({"industry": 5}), json!({"industry_focus": ["b", "c"]}), json!(null), Some("b, c")),
            (json!([]), json!("text"), json!({"industry_focus": "d"}), Some("d")),
            (json!(null), json!(null), json!({"industry_focus": {}}), None),
        ] {
            let found = industry(&site(web), &wishes(res), &persona(per), &Json::Null, &mut Sources::default());
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn the_audience_is_the_first_filled_value_as_stored() {
        for (per, web, res, expected) in [
            (json!({"target_audience": 0}), json!(null), json!(null), json!(0)),
            (json!({"target_audience": {}}), json!({"demographics": ["a"]}), json!(null), json!(["a"])),
            (json!(null), json!({"demographics": [], "target_audience": "b"}), json!(null), json!("b")),
            (json!(null), json!(null), json!({"demographics": {"age": "30-40"}}), json!({"age": "30-40"})),
            (json!(null), json!(null), json!({"target_audience": "c"}), json!("c")),
            (json!(null), json!(null), json!(null), json!(null)),
        ] {
            let found = target_audience(&site(web), &wishes(res), &persona(per), &mut Sources::default());
            assert_eq!(serde_json::to_value(found).unwrap(), expected);
        }
    }

    #[test]
    fn platforms_have_one_name_each() {
        for (selected, described, expected) in [
            (json!(["LinkedIn", "X", "twitter"]), json!({"blog": {}}), &["linkedin", "twitter"][..]),
            (json!([" "]), json!({"medium": {}, "Blog": {}}), &["blog", "medium"]),
            (json!("x; blog"), json!(null), &["twitter", "blog"]),
            (json!(null), json!(["blog"]), &[]),
        ] {
            let per = Persona { selected_platforms: selected, platform_personas: described, ..Persona::default() };
            assert_eq!(platform_preferences(&per, &Integrations::default(), &mut Sources::default()), expected);
        }
    }

    #[test]
    fn wishes_for_content_come_before_the_sites_types() {
        let web = Website { content_type: json!({"primary_type": "blog"}), ..Website::default() };
        for (content_types_column, expected) in [(json!(["Guides"]), "Guides"), (json!([5]), "blog")] {
            let res = Research { content_types: content_types_column, ..Research::default() };
            assert_eq!(content_types(&web, &res, &Json::Null, &mut Sources::default()), [expected]);
        }
    }

    #[test]
    fn styles_and_insights_are_absent_if_they_say_nothing() {
        for (guidelines, known) in [
            (json!({"visual_style": "bold"}), true),
            (json!({"aesthetic": "", "visual_style": 4}), false),
            (json!("bold"), false),
        ] {
            assert_eq!(visual_style(&guidelines).is_some(), known, "{guidelines}");
        }
        for (insights, known) in [(json!({"a": null}), true), (json!({}), false), (json!(["a"]), false)] {
            assert_eq!(strategy_insights(&insights).is_some(), known, "{insights}");
        }
    }
}
