//! The DERIVED section: the document's first five fields, made from onboarding and strategy by
//! rules (data.md, section 9).

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

/// For a user whose strategy names no goals.
const BUSINESS_GOALS: [&str; 3] = ["Increase brand awareness", "Generate leads", "Establish thought leadership"];

/// A document with these five fields alone.
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

/// `value::filled`, for a value that is in a message already.
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

/// What is advised for a platform, and for whom.
#[derive(Debug)]
struct Advice {
    platform: &'static str,
    applies: Applies,
    priority: &'static str,
    content_focus: &'static str,
    posting_frequency: &'static str,
    engagement_strategy: &'static str,
}

/// Whom a platform is advised to who has not selected it.
#[derive(Debug)]
enum Applies {
    Always,
    /// Industries, by their key.
    Industry(&'static [&'static str]),
    /// Who publishes content whose type has one of these words.
    ContentType(&'static [&'static str]),
}

const ADVICE: [Advice; 5] = [
    Advice {
        platform: "linkedin",
        applies: Applies::Industry(&["technology", "finance", "healthcare", "consulting"]),
        priority: "high",
        content_focus: "professional insights",
        posting_frequency: "daily",
        engagement_strategy: "thought leadership",
    },
    Advice {
        platform: "twitter",
        applies: Applies::Always,
        priority: "medium",
        content_focus: "quick insights and updates",
        posting_frequency: "daily",
        engagement_strategy: "conversation starter",
    },
    Advice {
        platform: "blog",
        applies: Applies::ContentType(&["blog", "blogs", "article", "articles"]),
        priority: "high",
        content_focus: "in-depth articles and guides",
        posting_frequency: "weekly",
        engagement_strategy: "educational content",
    },
    Advice {
        platform: "instagram",
        applies: Applies::Industry(&["technology", "marketing", "creative"]),
        priority: "medium",
        content_focus: "visual storytelling",
        posting_frequency: "daily",
        engagement_strategy: "visual engagement",
    },
    Advice {
        platform: "youtube",
        applies: Applies::ContentType(&["video", "videos"]),
        priority: "medium",
        content_focus: "educational videos and tutorials",
        posting_frequency: "weekly",
        engagement_strategy: "video engagement",
    },
];

/// For a selected platform that is not in the table.
const OTHER: Advice = Advice {
    platform: "",
    applies: Applies::Always,
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

/// The platforms whose condition holds, and every selected one, whatever its condition says.
fn platform_preferences(
    industry_key: &str,
    known: &OnboardingData,
    website: &WebsiteAnalysis,
) -> BTreeMap<String, PlatformPreference> {
    let content_types: Vec<&String> = website.content_types.iter().chain(&known.content_types).collect();
    let applies = |applies: &Applies| match applies {
        Applies::Always => true,
        Applies::Industry(keys) => keys.contains(&industry_key),
        Applies::ContentType(words) => content_types.iter().any(|content_type| has_word(content_type, words)),
    };
    let advised = ADVICE.iter().filter(|advice| applies(&advice.applies));
    let advised = advised.map(|advice| (advice.platform.to_owned(), advice.message(false)));
    let selected = known.platform_preferences.iter().map(|platform| {
        let advice = ADVICE.iter().find(|advice| advice.platform == platform).unwrap_or(&OTHER);
        (platform.clone(), advice.message(true))
    });
    advised.chain(selected).collect()
}
