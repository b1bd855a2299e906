//! The DERIVED section: the document's first five fields, made by rules from onboarding and strategy (data.md, section
//! 9).

use std::collections::BTreeMap;

use super::{
    rows::Onboarding,
    value::{has_word, industry_key},
};
use crate::{
    model::UserId,
    proto::{
        Kind, ListValue, Value,
        v1::{ComprehensiveUserData, OnboardingData, PlatformPreference, StrategyData, WebsiteAnalysis},
    },
};

/// Used if the strategy names no goals.
const BUSINESS_GOALS: [&str; 3] = ["Increase brand awareness", "Generate leads", "Establish thought leadership"];

/// A document with only these five fields.
#[must_use]
pub fn derive(user: &UserId, onboarding: &Onboarding, strategy: Option<&StrategyData>) -> ComprehensiveUserData {
    let known = &onboarding.data;
    let website = known.website_analysis.clone().unwrap_or_default();
    let industry = industry(known, &website, strategy);
    ComprehensiveUserData {
        user_id: user.as_str().to_owned(),
        target_audience: Some(target_audience(known, &website, strategy)),
        business_goals: business_goals(strategy),
        platform_preferences: platform_preferences(&industry_key(&industry), known, &website),
        industry,
        ..ComprehensiveUserData::default()
    }
}

fn industry(known: &OnboardingData, website: &WebsiteAnalysis, strategy: Option<&StrategyData>) -> String {
    let candidates = [strategy.and_then(|strategy| strategy.industry.as_ref()), known.industry.as_ref()];
    let named = candidates.into_iter().flatten().find(|industry| !industry.trim().is_empty());
    named.unwrap_or(&website.industry_focus).clone()
}

fn target_audience(known: &OnboardingData, website: &WebsiteAnalysis, strategy: Option<&StrategyData>) -> Value {
    let candidates = [strategy.and_then(|strategy| strategy.target_audience.as_ref()), known.target_audience.as_ref()];
    let stored = candidates.into_iter().flatten().find(|audience| filled(audience));
    stored.cloned().unwrap_or_else(|| {
        let values = website.target_audience.iter().cloned().map(|text| Kind::StringValue(text).into()).collect();
        Kind::ListValue(ListValue { values }).into()
    })
}

/// `value::filled`, for the value of a message.
fn filled(value: &Value) -> bool {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => false,
        Some(Kind::StringValue(text)) => !text.trim().is_empty(),
        Some(Kind::ListValue(list)) => !list.values.is_empty(),
        Some(Kind::StructValue(object)) => !object.fields.is_empty(),
        Some(Kind::BoolValue(_) | Kind::NumberValue(_)) => true,
    }
}

fn business_goals(strategy: Option<&StrategyData>) -> Vec<String> {
    let goals = strategy.map(|strategy| strategy.business_goals.clone()).filter(|goals| !goals.is_empty());
    goals.unwrap_or_else(|| BUSINESS_GOALS.map(str::to_owned).to_vec())
}

/// The condition under which a platform is advised to users who have not selected it.
#[derive(Debug)]
enum Applies {
    Always,
    /// The industry's key is one of these.
    Industry(&'static [&'static str]),
    /// The user publishes content whose type has one of these words.
    ContentType(&'static [&'static str]),
}

#[derive(Debug)]
struct Advice {
    priority: &'static str,
    content_focus: &'static str,
    posting_frequency: &'static str,
    engagement_strategy: &'static str,
}

const PLATFORMS: [(&str, Applies, Advice); 5] = [
    (
        "linkedin",
        Applies::Industry(&["technology", "finance", "healthcare", "consulting"]),
        Advice {
            priority: "high",
            content_focus: "professional insights",
            posting_frequency: "daily",
            engagement_strategy: "thought leadership",
        },
    ),
    (
        "twitter",
        Applies::Always,
        Advice {
            priority: "medium",
            content_focus: "quick insights and updates",
            posting_frequency: "daily",
            engagement_strategy: "conversation starter",
        },
    ),
    (
        "blog",
        Applies::ContentType(&["blog", "blogs", "article", "articles"]),
        Advice {
            priority: "high",
            content_focus: "in-depth articles and guides",
            posting_frequency: "weekly",
            engagement_strategy: "educational content",
        },
    ),
    (
        "instagram",
        Applies::Industry(&["technology", "marketing", "creative"]),
        Advice {
            priority: "medium",
            content_focus: "visual storytelling",
            posting_frequency: "daily",
            engagement_strategy: "visual engagement",
        },
    ),
    (
        "youtube",
        Applies::ContentType(&["video", "videos"]),
        Advice {
            priority: "medium",
            content_focus: "educational videos and tutorials",
            posting_frequency: "weekly",
            engagement_strategy: "video engagement",
        },
    ),
];

/// For a selected platform that is not in the table.
const OTHER: Advice = Advice {
    priority: "medium",
    content_focus: "general content",
    posting_frequency: "weekly",
    engagement_strategy: "community engagement",
};

impl Advice {
    fn message(&self, selected: bool) -> PlatformPreference {
        PlatformPreference {
            priority: self.priority.to_owned(),
            content_focus: self.content_focus.to_owned(),
            posting_frequency: self.posting_frequency.to_owned(),
            engagement_strategy: self.engagement_strategy.to_owned(),
            selected,
        }
    }
}

/// The platforms whose condition holds, and all selected ones.
fn platform_preferences(
    industry_key: &str,
    known: &OnboardingData,
    website: &WebsiteAnalysis,
) -> BTreeMap<String, PlatformPreference> {
    let content_types: Vec<&String> = website.content_types.iter().chain(&known.content_types).collect();
    let applies = |condition: &Applies| match condition {
        Applies::Always => true,
        Applies::Industry(keys) => keys.contains(&industry_key),
        Applies::ContentType(words) => content_types.iter().any(|content_type| has_word(content_type, words)),
    };
    let advised = PLATFORMS.iter().filter(|(_, condition, _)| applies(condition));
    let advised = advised.map(|(platform, _, advice)| ((*platform).to_owned(), advice.message(false)));
    let selected = known.platform_preferences.iter().map(|platform| {
        let row = PLATFORMS.iter().find(|(name, _, _)| name == platform);
        (platform.clone(), row.map_or(&OTHER, |(_, _, advice)| advice).message(true))
    });
    advised.chain(selected).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn derived(onboarding: OnboardingData, strategy: Option<&StrategyData>) -> ComprehensiveUserData {
        let onboarding = Onboarding { data: onboarding, ..Onboarding::default() };
        derive(&UserId::parse("7").unwrap(), &onboarding, strategy)
    }

    /// The onboarding message of a user who entered nothing.
    fn nothing_known() -> OnboardingData {
        OnboardingData {
            website_analysis: Some(WebsiteAnalysis {
                content_types: texts(&["podcast"]),
                target_audience: texts(&["professionals"]),
                industry_focus: "general".to_owned(),
                ..WebsiteAnalysis::default()
            }),
            ..OnboardingData::default()
        }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_the_sections_own_fields_are_set() {
        let document = derived(nothing_known(), None);
        let others = crate::model::document::encode_sections(document.clone());
        let set: Vec<_> = others.iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(section, _)| *section).collect();
        assert_eq!(set, [crate::model::Section::Derived]);
        assert_eq!(document.user_id, "7");
    }

    #[test]
    fn with_nothing_known_the_defaults_are_left() {
        let document = derived(nothing_known(), None);
        assert_eq!(document.industry, "general");
        assert_eq!(serde_json::to_value(document.target_audience).unwrap(), json!(["professionals"]));
        assert_eq!(document.business_goals, BUSINESS_GOALS);
        assert_eq!(document.platform_preferences.keys().collect::<Vec<_>>(), ["twitter"]);
    }

    #[test]
    fn the_strategy_comes_before_onboarding() {
        let onboarding = || OnboardingData {
            industry: Some("retail".to_owned()),
            target_audience: Some(json!("shoppers").into()),
            ..nothing_known()
        };
        for (industry, audience, goals, expected) in [
            (Some("finance"), json!({"role": "cfo"}), vec!["Grow"], ("finance", json!({"role": "cfo"}), "Grow")),
            (Some(" "), json!([]), vec![], ("retail", json!("shoppers"), BUSINESS_GOALS[0])),
            (None, json!(0), vec![], ("retail", json!(0), BUSINESS_GOALS[0])),
        ] {
            let strategy = StrategyData {
                industry: industry.map(str::to_owned),
                target_audience: Some(audience.into()),
                business_goals: texts(&goals),
                ..StrategyData::default()
            };
            let document = derived(onboarding(), Some(&strategy));
            assert_eq!(document.industry, expected.0);
            assert_eq!(serde_json::to_value(&document.target_audience).unwrap(), expected.1);
            assert_eq!(document.business_goals[0], expected.2);
        }
    }

    #[test]
    fn industry_and_content_types_choose_platforms() {
        for (industry, content_types, expected) in [
            ("FinTech", &["article"][..], &["blog", "linkedin", "twitter"][..]),
            ("saas", &["How-to videos", "Blog"], &["blog", "instagram", "linkedin", "twitter", "youtube"]),
            ("Digital Marketing", &[], &["instagram", "twitter"]),
            ("design", &["blogging"], &["instagram", "twitter"]),
            ("consultancy", &[], &["linkedin", "twitter"]),
            ("retail", &["Videos"], &["twitter", "youtube"]),
        ] {
            let onboarding = OnboardingData {
                industry: Some(industry.to_owned()),
                content_types: texts(content_types),
                ..nothing_known()
            };
            let document = derived(onboarding, None);
            assert_eq!(document.platform_preferences.keys().collect::<Vec<_>>(), expected, "{industry}");
        }
    }

    #[test]
    fn a_selected_platform_has_its_rows_values_whatever_the_condition_says() {
        let onboarding = OnboardingData {
            industry: Some("finance".to_owned()),
            content_types: texts(&["article"]),
            platform_preferences: texts(&["linkedin", "medium", "instagram"]),
            ..nothing_known()
        };
        let preferences = derived(onboarding, None).platform_preferences;
        let shown: Vec<_> = preferences
            .iter()
            .map(|(platform, p)| (platform.as_str(), p.priority.as_str(), p.content_focus.as_str(), p.selected))
            .collect();
        assert_eq!(
            shown,
            [
                ("blog", "high", "in-depth articles and guides", false),
                ("instagram", "medium", "visual storytelling", true),
                ("linkedin", "high", "professional insights", true),
                ("medium", "medium", "general content", true),
                ("twitter", "medium", "quick insights and updates", false),
            ]
        );
    }
}
