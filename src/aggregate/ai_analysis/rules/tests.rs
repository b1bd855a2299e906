//! Data.md's two checks, and each rule with what makes it apply.

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
        strategy.row["competitive_position"] = stated.map(str::to_owned).into();
        strategy.row["industry"] = industry.map(str::to_owned).into();
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
    strategy.row["competitive_advantages"] = json!([
        {"advantage": "Own data", "impact": "High", "implementation": "Publish it"},
        {"impact": "low"},
        {"advantage": "Speed", "impact": 0.1},
    ]);
    strategy.row["market_share"] = " 5 % ".into();
    let results = run(&Onboarding::default(), Some(&strategy));
    let shown =
        kinds(&results.competitive_advantages, |a| format!("{}/{}/{}/{}", a.r#type, a.name, a.description, a.strength));
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
    many.row["competitive_advantages"] = json!([{"advantage": "Own data"}]);
    let results = run(&Onboarding::default(), Some(&many));
    assert_eq!(results.competitive_advantages.len(), 20);
    let position = results.market_positioning.unwrap();
    assert_eq!(position.competitive_advantage, "Own data");
    assert_eq!(position.differentiation_factors.len(), 10);

    let mut none = strategy(json!([]));
    none.row["competitive_advantages"] = json!(vec![json!({"advantage": "x"}); 6]);
    assert_eq!(run(&Onboarding::default(), Some(&none)).competitive_advantages.len(), 5);
    none.row["competitive_advantages"] = json!({"advantage": "no list"});
    let results = run(&Onboarding::default(), Some(&none));
    assert!(results.competitive_advantages.is_empty());
    assert_eq!(results.market_positioning.unwrap().competitive_advantage, "content_quality");
}

#[test]
fn content_score_counts_four_pillars_audience_and_formats() {
    let mut five = strategy(json!(["a", "b", "c", "d", "e"]));
    let content = |strategy: &Strategy| scores_of(&run(&Onboarding::default(), Some(strategy)))[2];
    assert_eq!(content(&five), 0.75);
    five.row["preferred_formats"] = json!(["video"]);
    assert_eq!(content(&five), 0.85);
    five.row["content_mix"] = json!({"blog": 1});
    five.row["target_audience"] = json!("all");
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
    declared.row["strategic_risks"] = json!([
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
    declared.row["market_gaps"] = json!(["g1", "g2", "g3", "g4"]);
    declared.row["opportunity_analysis"] = json!([
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
