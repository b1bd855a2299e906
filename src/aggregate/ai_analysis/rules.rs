//! The rule engine: what can be said about a strategy without a model.
//!
//! A pure function of the rows. What somebody *declared* in the strategy is passed on as such; what
//! a rule table of onboarding made up is never used as evidence for advice.

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

/// The analysis by rules; its date and strategy are the caller's to add.
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
            market_share: subject.words(|row| row.market_share.as_ref()).map(str::to_owned),
            differentiation_factors: names(subject.pillars().iter().take(FACTORS_MAX)),
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
    let stated = subject.words(|row| row.competitive_position.as_ref()).map(str::to_lowercase);
    if let Some(stated) = stated.filter(|s| matches!(s.as_str(), "leader" | "challenger" | "niche" | "emerging")) {
        return stated;
    }
    let Some(industry) = subject.industry() else { return "unknown".to_owned() };
    let established = matches!(industry_key(industry).as_str(), "technology" | "finance" | "healthcare");
    if established { "established" } else { "emerging" }.to_owned()
}

/// The elements of a column that have the text they are about.
fn declared<'a>(column: &'a Json, about: &str) -> impl Iterator<Item = (String, &'a Json)> {
    let elements = column.as_array().map_or(&[][..], Vec::as_slice);
    elements.iter().filter_map(move |element| Some((text(member(element, about))?, element)))
}

fn declared_advantages(subject: &Subject<'_>) -> Vec<CompetitiveAdvantage> {
    declared(subject.column(|row| &row.competitive_advantages), "advantage")
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
    let mixed = filled(subject.column(|row| &row.content_mix)) || filled(subject.column(|row| &row.preferred_formats));
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
    let of_strategy = declared(subject.column(|row| &row.strategic_risks), "risk").take(DECLARED_RISKS_MAX).map(
        |(description, element)| Risk {
            r#type: "declared".to_owned(),
            severity: level(member(element, "impact")).to_owned(),
            description,
            mitigation: text(member(element, "mitigation")).unwrap_or_default(),
        },
    );
    of_rule.chain(of_strategy).collect()
}

/// Whether one of several pillars carries more than 60 % of the weight that is known.
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
    let market_gaps = strings(subject.column(|row| &row.market_gaps)).into_iter().take(MARKET_GAPS_MAX).map(|gap| {
        let actions = ["Confirm demand with keyword data", "Publish one reference piece", "Measure after 30 days"];
        opportunity("market_gap", "high", gap, actions.map(str::to_owned).into())
    });
    let of_strategy = declared(subject.column(|row| &row.opportunity_analysis), "opportunity")
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

/// The first three opportunities that onboarding found, as opposed to those a rule table supplied.
fn content_opportunities(subject: &Subject<'_>) -> Vec<String> {
    let found = subject.provenance("content_opportunities").and(subject.onboarding.data.gap_analysis.as_ref());
    found.map(|gaps| gaps.content_opportunities.iter().take(3).cloned().collect()).unwrap_or_default()
}

fn names<'a>(pillars: impl Iterator<Item = &'a Pillar>) -> Vec<String> {
    pillars.map(|pillar| pillar.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::fixture::{onboarding, plain_strategy, strategy},
        *,
    };
    use crate::aggregate::rows::{Onboarding, Strategy};

    fn run(onboarding: &Onboarding, strategy: Option<&Strategy>) -> AiAnalysisResults {
        analyse(&Subject::new(onboarding, strategy))
    }

    fn scores_of(results: &AiAnalysisResults) -> [f64; 4] {
        let scores = results.strategic_scores.unwrap();
        [
            scores.market_positioning_score,
            scores.competitive_advantage_score,
            scores.content_strategy_score,
            scores.overall_strategic_score,
        ]
    }

    fn position(onboarding: &Onboarding, strategy: Option<&Strategy>) -> MarketPositioning {
        run(onboarding, strategy).market_positioning.unwrap()
    }

    fn kinds<T>(items: &[T], kind: impl Fn(&T) -> String) -> String {
        items.iter().map(kind).collect::<Vec<_>>().join(" ")
    }

    fn risks_of(onboarding: &Onboarding, strategy: Option<&Strategy>) -> String {
        kinds(&run(onboarding, strategy).risk_assessment, |risk| format!("{}:{}", risk.r#type, risk.severity))
    }

    #[test]
    fn check_of_a_plain_strategy() {
        let results = run(&Onboarding::default(), Some(&plain_strategy()));
        assert_eq!(results.competitive_advantages.len(), 5);
        assert_eq!(scores_of(&results), [0.8, 0.9, 0.85, 0.85]);
        assert_eq!(results.generator(), Generator::Rules);
    }

    #[test]
    fn check_of_nothing_known() {
        let results = run(&Onboarding::default(), None);
        assert_eq!(scores_of(&results), [0.7, 0.8, 0.55, 0.6833]);
        assert_eq!(
            risks_of(&Onboarding::default(), None),
            "content_diversity:medium audience_definition:high competitor_visibility:low"
        );
        assert_eq!(results.market_positioning.unwrap().industry_position, "unknown");
        assert!(results.opportunity_analysis.is_empty() && results.content_recommendations.is_empty());
    }

    #[test]
    fn industry_position_is_stated_or_follows_from_the_industry() {
        for (stated, industry, expected, score) in [
            (Some(" Leader "), None, "leader", 0.8),
            (Some("niche"), Some("SaaS"), "niche", 0.7),
            (Some("first"), Some("SaaS"), "established", 0.8),
            (None, Some("banking"), "established", 0.8),
            (None, Some("Retail"), "emerging", 0.7),
            (None, Some("  "), "unknown", 0.7),
        ] {
            let mut strategy = strategy(json!([]));
            strategy.row.competitive_position = stated.map(str::to_owned);
            strategy.row.industry = industry.map(str::to_owned);
            let results = run(&Onboarding::default(), Some(&strategy));
            assert_eq!(scores_of(&results)[0], score, "{stated:?} {industry:?}");
            assert_eq!(results.market_positioning.unwrap().industry_position, expected, "{stated:?} {industry:?}");
        }
        assert_eq!(position(&onboarding("x"), None).industry_position, "emerging");
    }

    #[test]
    fn advantages_are_pillars_then_audience_then_declared() {
        let mut strategy = plain_strategy();
        strategy.pillars[1].frequency = Some("Weekly".to_owned());
        strategy.pillars[2].frequency = Some("monthly".to_owned());
        strategy.pillars[0].description = Some("about a".to_owned());
        strategy.row.competitive_advantages = json!([
            {"advantage": "Own data", "impact": "High", "implementation": "Publish it"},
            {"impact": "low"},
            {"advantage": "Speed", "impact": 0.1},
        ]);
        strategy.row.market_share = Some(" 5 % ".to_owned());
        let results = run(&Onboarding::default(), Some(&strategy));
        let shown = kinds(&results.competitive_advantages, |a| {
            format!("{}/{}/{}/{}", a.r#type, a.name, a.description, a.strength)
        });
        assert_eq!(
            shown,
            "content_pillar/a/about a/medium content_pillar/b//high content_pillar/c//medium content_pillar/d//medium \
             audience_focus/Defined audience/The target audience is described./high \
             declared/Own data/Publish it/high declared/Speed//low"
        );
        let position = results.market_positioning.unwrap();
        assert_eq!(position.competitive_advantage, "Own data");
        assert_eq!(position.market_share.as_deref(), Some("5 %"));
        assert_eq!(position.differentiation_factors, ["a", "b", "c", "d"]);
    }

    #[test]
    fn advantages_are_at_most_twenty_and_five_declared() {
        let mut many = strategy(json!((0..20).map(|n| format!("p{n}")).collect::<Vec<_>>()));
        many.row.competitive_advantages = json!([{"advantage": "Own data"}]);
        let results = run(&Onboarding::default(), Some(&many));
        assert_eq!(results.competitive_advantages.len(), 20);
        let position = results.market_positioning.unwrap();
        assert_eq!(position.competitive_advantage, "Own data");
        assert_eq!(position.differentiation_factors.len(), 10);

        let mut none = strategy(json!([]));
        none.row.competitive_advantages = json!(vec![json!({"advantage": "x"}); 6]);
        assert_eq!(run(&Onboarding::default(), Some(&none)).competitive_advantages.len(), 5);
        none.row.competitive_advantages = json!({"advantage": "no list"});
        let results = run(&Onboarding::default(), Some(&none));
        assert!(results.competitive_advantages.is_empty());
        assert_eq!(results.market_positioning.unwrap().competitive_advantage, "content_quality");
    }

    #[test]
    fn content_score_counts_four_pillars_audience_and_formats() {
        let mut five = strategy(json!(["a", "b", "c", "d", "e"]));
        let content = |strategy: &Strategy| scores_of(&run(&Onboarding::default(), Some(strategy)))[2];
        assert_eq!(content(&five), 0.75);
        five.row.preferred_formats = json!(["video"]);
        assert_eq!(content(&five), 0.85);
        five.row.content_mix = json!({"blog": 1});
        five.row.target_audience = json!("all");
        assert_eq!(content(&five), 0.95);
    }

    #[test]
    fn each_risk_has_its_condition() {
        let quiet = onboarding("website_analysis");
        let weighted = |pillars: Json| risks_of(&quiet, Some(&strategy(pillars)));
        assert_eq!(weighted(json!(["a", "b"])), "");
        assert_eq!(weighted(json!(["a"])), "content_diversity:medium");
        assert_eq!(weighted(json!({"a": 61, "b": 39})), "content_concentration:medium");
        assert_eq!(weighted(json!({"a": 60, "b": 40})), "");
        assert_eq!(weighted(json!({"a": 10, "b": "?"})), "content_concentration:medium");
        assert_eq!(weighted(json!({"a": 0, "b": 0})), "");
        assert_eq!(weighted(json!({"a": 10})), "content_diversity:medium");

        let mut lonely = quiet.clone();
        lonely.competitors.clear();
        lonely.data.target_audience = None;
        assert_eq!(
            risks_of(&lonely, Some(&strategy(json!(["a", "b"])))),
            "audience_definition:high competitor_visibility:low"
        );

        let mut declared = strategy(json!(["a", "b"]));
        declared.row.strategic_risks = json!([
            {"risk": "Churn", "impact": "very high", "mitigation": "Call them"},
            {"impact": "high"}, {"risk": "r2"}, {"risk": "r3"}, {"risk": "r4"}, {"risk": "r5"}, {"risk": "r6"},
        ]);
        let risks = run(&quiet, Some(&declared)).risk_assessment;
        assert_eq!(risks.len(), 5);
        let first = &risks[0];
        assert_eq!(
            [&first.r#type, &first.severity, &first.description, &first.mitigation],
            ["declared", "high", "Churn", "Call them"]
        );
    }

    #[test]
    fn each_opportunity_has_its_condition() {
        let shown = |onboarding: &Onboarding, strategy: &Strategy| {
            kinds(&run(onboarding, Some(strategy)).opportunity_analysis, |o| {
                format!("{}:{}:{}", o.r#type, o.priority, o.action_items.len())
            })
        };
        assert_eq!(shown(&Onboarding::default(), &strategy(json!([]))), "");
        assert_eq!(shown(&onboarding("x"), &strategy(json!([]))), "industry_growth:high:3");
        assert_eq!(shown(&Onboarding::default(), &strategy(json!(["a"]))), "content_expansion:medium:3");

        let mut declared = strategy(json!([]));
        declared.row.market_gaps = json!(["g1", "g2", "g3", "g4"]);
        declared.row.opportunity_analysis = json!([
            {"opportunity": "o1", "potential_impact": "low"}, {"potential_impact": "high"},
            {"opportunity": "o2"}, {"opportunity": "o3"}, {"opportunity": "o4"},
        ]);
        assert_eq!(
            shown(&Onboarding::default(), &declared),
            "market_gap:high:3 market_gap:high:3 market_gap:high:3 declared:low:0 declared:medium:0 declared:medium:0"
        );
        let opportunities = run(&onboarding("x"), Some(&declared)).opportunity_analysis;
        assert_eq!(opportunities[0].description, "The Retail market leaves room for more coverage.");
        assert_eq!(
            opportunities[0].action_items,
            ["Follow demand in Retail", "Publish pieces specific to Retail", "Test neighbouring segments"]
        );
        assert_eq!(opportunities[1].description, "g1");
    }

    #[test]
    fn recommendations_rest_on_what_was_found() {
        let strategy = strategy(json!([
            {"name": "a", "topics": ["t1"]}, {"name": "b", "topics": ["1", "2", "3"]}, {"name": "c"}, {"name": "d"},
        ]));
        let titles = |onboarding: &Onboarding| {
            run(onboarding, Some(&strategy)).content_recommendations.into_iter().map(|r| r.title).collect::<Vec<_>>()
        };
        assert_eq!(titles(&onboarding("rule_default")), ["Series: a", "Series: c"]);
        assert_eq!(
            titles(&onboarding("website_analysis")),
            [
                "gap 1: first piece",
                "gap 2: first piece",
                "gap 3: first piece",
                "Rank for keyword 1",
                "Rank for keyword 2",
                "Rank for keyword 3",
                "Series: a",
                "Series: c",
            ]
        );
        let recommendations = run(&onboarding("website_analysis"), Some(&strategy)).content_recommendations;
        let [gap, next_gap, .., series, _] = recommendations.as_slice() else { panic!("eight") };
        assert_eq!([&gap.priority, &next_gap.priority, &series.priority], ["high", "medium", "low"]);
        assert_eq!(gap.description, "Missing according to website_analysis.");
        assert_eq!(gap.content_suggestions, ["chance 1", "chance 2", "chance 3"]);
        assert_eq!(recommendations[3].description, "Keyword from website_analysis.");
        assert_eq!(series.content_suggestions, ["t1"]);
        assert!(recommendations.iter().all(|r| r.ai_confidence.is_none() && r.generator() == Generator::Rules));
    }
}
