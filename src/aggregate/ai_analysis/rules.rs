//! The analysis by rules, without a model.
//!
//! It is a pure function of the rows. Values that the user *declared* in the strategy are passed on as such. Values
//! that a rule table of onboarding supplied are never used as evidence for advice.

use serde_json::Value as Json;

use super::subject::Subject;
use crate::{
    aggregate::value::{Pillar, filled, industry_key, level, member, round, strings, text},
    proto::v1::{
        AiAnalysisResults, CompetitiveAdvantage, ContentSuggestion, Generator, MarketPositioning, Risk,
        StrategicOpportunity, StrategicScores,
    },
};

const FACTORS_MAX: usize = 10;
const ADVANTAGES_MAX: usize = 20;
const DECLARED_ADVANTAGES_MAX: usize = 5;
const DECLARED_RISKS_MAX: usize = 5;
const DECLARED_OPPORTUNITIES_MAX: usize = 3;
const MARKET_GAPS_MAX: usize = 3;
const SUGGESTIONS_MAX: usize = 8;

/// The caller adds date and strategy.
pub(super) fn analyse(subject: &Subject<'_>) -> AiAnalysisResults {
    let declared = declared_advantages(subject);
    let industry_position = industry_position(subject);
    let best_declared = declared.first().map(|advantage| advantage.name.clone());
    let advantages = competitive_advantages(subject, declared);
    let mut results = AiAnalysisResults {
        strategic_scores: Some(scores(subject, &industry_position, advantages.len())),
        market_positioning: Some(MarketPositioning {
            industry_position,
            competitive_advantage: best_declared.unwrap_or_else(|| "content_quality".to_owned()),
            market_share: subject.words("market_share").map(str::to_owned),
            differentiation_factors: subject
                .pillars()
                .iter()
                .take(FACTORS_MAX)
                .map(|pillar| pillar.name.clone())
                .collect(),
        }),
        competitive_advantages: advantages,
        risk_assessment: risks(subject),
        opportunity_analysis: opportunities(subject),
        content_recommendations: recommendations(subject),
        ..AiAnalysisResults::default()
    };
    results.set_generator(Generator::Rules);
    results
}

fn industry_position(subject: &Subject<'_>) -> String {
    let stated = subject.words("competitive_position").map(str::to_lowercase);
    if let Some(stated) = stated.filter(|s| matches!(s.as_str(), "leader" | "challenger" | "niche" | "emerging")) {
        return stated;
    }
    let Some(industry) = subject.industry() else { return "unknown".to_owned() };
    let established = matches!(industry_key(industry).as_str(), "technology" | "finance" | "healthcare");
    if established { "established" } else { "emerging" }.to_owned()
}

/// The elements of a column that have this member, with its text.
fn declared<'a>(column: &'a Json, about: &str) -> impl Iterator<Item = (String, &'a Json)> {
    let elements = column.as_array().map_or(&[][..], Vec::as_slice);
    elements.iter().filter_map(move |element| Some((text(member(element, about))?, element)))
}

fn declared_advantages(subject: &Subject<'_>) -> Vec<CompetitiveAdvantage> {
    declared(subject.column("competitive_advantages"), "advantage")
        .take(DECLARED_ADVANTAGES_MAX)
        .map(|(name, element)| CompetitiveAdvantage {
            r#type: "declared".to_owned(),
            name,
            description: text(member(element, "implementation")).unwrap_or_default(),
            strength: level(member(element, "impact")).to_owned(),
        })
        .collect()
}

fn competitive_advantages(subject: &Subject<'_>, declared: Vec<CompetitiveAdvantage>) -> Vec<CompetitiveAdvantage> {
    let of_pillar = |pillar: &Pillar| {
        let frequency = pillar.frequency.as_deref().map(|frequency| frequency.trim().to_lowercase());
        let often = matches!(frequency.as_deref(), Some("daily" | "weekly"));
        CompetitiveAdvantage {
            r#type: "content_pillar".to_owned(),
            name: pillar.name.clone(),
            description: pillar.description.clone().unwrap_or_default(),
            strength: if often { "high" } else { "medium" }.to_owned(),
        }
    };
    let audience_focus = filled(&subject.audience()).then(|| CompetitiveAdvantage {
        r#type: "audience_focus".to_owned(),
        name: "Defined audience".to_owned(),
        description: "The target audience is described.".to_owned(),
        strength: "high".to_owned(),
    });
    let pillars = subject.pillars().iter().map(of_pillar);
    pillars.chain(audience_focus).chain(declared).take(ADVANTAGES_MAX).collect()
}

fn scores(subject: &Subject<'_>, industry_position: &str, advantages: usize) -> StrategicScores {
    let bonus = |earned: bool| if earned { 0.1 } else { 0.0 };
    let mixed = filled(subject.column("content_mix")) || filled(subject.column("preferred_formats"));
    let per_pillar: f64 = subject.pillars().iter().take(4).map(|_| 0.05).sum();
    let market = 0.7 + bonus(matches!(industry_position, "established" | "leader"));
    let competitive = 0.8 + bonus(advantages > 2);
    let content = 0.55 + per_pillar + bonus(filled(&subject.audience())) + bonus(mixed);
    StrategicScores {
        market_positioning_score: round(market, 4),
        competitive_advantage_score: round(competitive, 4),
        content_strategy_score: round(content, 4),
        overall_strategic_score: round((market + competitive + content) / 3.0, 4),
    }
}

fn risks(subject: &Subject<'_>) -> Vec<Risk> {
    let pillars = subject.pillars();
    let rules = [
        (
            pillars.len() < 2,
            "content_diversity",
            "medium",
            "Fewer than two content pillars carry the plan.",
            "Add pillars until at least three share the load.",
        ),
        (
            !filled(&subject.audience()),
            "audience_definition",
            "high",
            "No target audience is described.",
            "Describe role, need and channel of the main audience.",
        ),
        (
            concentrated(pillars),
            "content_concentration",
            "medium",
            "One pillar carries more than 60 % of the plan.",
            "Shift weight to the other pillars.",
        ),
        (
            subject.onboarding.competitors.is_empty(),
            "competitor_visibility",
            "low",
            "No competitor has been analysed.",
            "Add at least two competitors.",
        ),
    ];
    let of_rule = rules.into_iter().filter(|rule| rule.0).map(|(_, kind, severity, description, mitigation)| Risk {
        r#type: kind.to_owned(),
        severity: severity.to_owned(),
        description: description.to_owned(),
        mitigation: mitigation.to_owned(),
    });
    let of_strategy =
        declared(subject.column("strategic_risks"), "risk").take(DECLARED_RISKS_MAX).map(|(description, element)| {
            Risk {
                r#type: "declared".to_owned(),
                severity: level(member(element, "impact")).to_owned(),
                description,
                mitigation: text(member(element, "mitigation")).unwrap_or_default(),
            }
        });
    of_rule.chain(of_strategy).collect()
}

/// Whether one of several pillars has more than 60 % of all known weight.
fn concentrated(pillars: &[Pillar]) -> bool {
    let weights = || pillars.iter().filter_map(|pillar| pillar.weight);
    let total: f64 = weights().sum();
    pillars.len() >= 2 && total > 0.0 && weights().any(|weight| weight > 0.6 * total)
}

fn opportunities(subject: &Subject<'_>) -> Vec<StrategicOpportunity> {
    let opportunity = |kind: &str, priority: &str, description: String, actions: Vec<String>| StrategicOpportunity {
        r#type: kind.to_owned(),
        priority: priority.to_owned(),
        description,
        action_items: actions,
    };
    let growth = subject.industry().map(|industry| {
        let description = format!("The {industry} market leaves room for more coverage.");
        let actions = vec![
            format!("Follow demand in {industry}"),
            format!("Publish pieces specific to {industry}"),
            "Test neighbouring segments".to_owned(),
        ];
        opportunity("industry_growth", "high", description, actions)
    });
    let expansion = (!subject.pillars().is_empty()).then(|| {
        let actions = ["List themes that no pillar covers", "Add one pillar per quarter", "Try a format not yet used"];
        let description = "The content pillars can be extended.".to_owned();
        opportunity("content_expansion", "medium", description, actions.map(str::to_owned).into())
    });
    let market_gaps = strings(subject.column("market_gaps")).into_iter().take(MARKET_GAPS_MAX).map(|gap| {
        let actions = ["Confirm demand with keyword data", "Publish one reference piece", "Measure after 30 days"];
        opportunity("market_gap", "high", gap, actions.map(str::to_owned).into())
    });
    let of_strategy = declared(subject.column("opportunity_analysis"), "opportunity")
        .take(DECLARED_OPPORTUNITIES_MAX)
        .map(|(text, element)| opportunity("declared", level(member(element, "potential_impact")), text, Vec::new()));
    growth.into_iter().chain(expansion).chain(market_gaps).chain(of_strategy).collect()
}

fn recommendations(subject: &Subject<'_>) -> Vec<ContentSuggestion> {
    let creation = subject.provenance("content_gaps").into_iter().flat_map(|source| {
        subject.content_gaps().iter().take(3).enumerate().map(move |(index, gap)| ContentSuggestion {
            r#type: "Content Creation".to_owned(),
            title: format!("{gap}: first piece"),
            description: format!("Missing according to {source}."),
            priority: if index == 0 { "high" } else { "medium" }.to_owned(),
            estimated_impact: "Medium".to_owned(),
            implementation_time: "2-4 weeks".to_owned(),
            content_suggestions: content_opportunities(subject),
            ..ContentSuggestion::default()
        })
    });
    let optimization = subject.provenance("high_value_keywords").into_iter().flat_map(|source| {
        subject.keywords().iter().take(3).map(move |keyword| ContentSuggestion {
            r#type: "Content Optimization".to_owned(),
            title: format!("Rank for {keyword}"),
            description: format!("Keyword from {source}."),
            priority: "medium".to_owned(),
            estimated_impact: "Medium".to_owned(),
            implementation_time: "2-4 weeks".to_owned(),
            content_suggestions: ["Use it in title and headings", "Link to it from related pages"]
                .map(str::to_owned)
                .into(),
            ..ContentSuggestion::default()
        })
    });
    let series =
        subject.pillars().iter().filter(|pillar| pillar.topics.len() < 3).take(2).map(|pillar| ContentSuggestion {
            r#type: "Content Series Development".to_owned(),
            title: format!("Series: {}", pillar.name),
            description: "The pillar names fewer than three topics.".to_owned(),
            priority: "low".to_owned(),
            estimated_impact: "Low".to_owned(),
            implementation_time: "8-12 weeks".to_owned(),
            content_suggestions: pillar.topics.clone(),
            ..ContentSuggestion::default()
        });
    let mut recommendations: Vec<ContentSuggestion> =
        creation.chain(optimization).chain(series).take(SUGGESTIONS_MAX).collect();
    for recommendation in &mut recommendations {
        recommendation.set_generator(Generator::Rules);
    }
    recommendations
}

/// The first three opportunities that onboarding found. Those of a rule table do not count.
fn content_opportunities(subject: &Subject<'_>) -> Vec<String> {
    let found = subject.provenance("content_opportunities").and(subject.onboarding.data.gap_analysis.as_ref());
    found.map(|gaps| gaps.content_opportunities.iter().take(3).cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
