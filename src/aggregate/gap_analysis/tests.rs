//! data.md section 7: the worked example to 1e-6, and every rule about what comes out.

mod worked_example;

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    aggregate::rows::*,
    proto::v1::{
        GapOrigin, Generator, KeywordAnalysis, OnboardingData, OpportunityType, Pillar, StrategyData, StrategyKind,
    },
};

/// Everything that the analysis reads, owned.
#[derive(Default)]
struct Rows {
    onboarding: Onboarding,
    pillars: Vec<Pillar>,
    events: Vec<CalendarEvent>,
}

impl Rows {
    fn analyse(self) -> GapAnalysis {
        let strategy = self.strategy();
        analyse(&self.input(&strategy))
    }

    fn strategy(&self) -> Strategy {
        Strategy {
            resolved: ResolvedStrategy { kind: StrategyKind::Legacy, id: 1 },
            pillars: self.pillars.clone(),
            row: Json::Null,
            data: StrategyData::default(),
        }
    }

    fn input<'a>(&'a self, strategy: &'a Strategy) -> GapInput<'a> {
        GapInput { onboarding: &self.onboarding, strategy: Some(strategy), events: &self.events }
    }

    fn competitor(mut self, domain: &str, analysis_data: Json) -> Self {
        let domain = domain.to_owned();
        self.onboarding.competitors.push(CompetitorRow { domain, analysis_data, ..CompetitorRow::default() });
        self
    }

    fn results(mut self, analysis_results: Json) -> Self {
        self.onboarding.gap.analysis_results = analysis_results;
        self
    }

    fn pillar(mut self, name: &str, topics: &[&str]) -> Self {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.pillars.push(Pillar { name: name.to_owned(), topics, ..Pillar::default() });
        self
    }

    fn event(mut self, title: &str) -> Self {
        self.events.push(CalendarEvent { title: title.to_owned(), description: None });
        self
    }
}

fn worked_example() -> Rows {
    Rows::default()
        .competitor(
            "alpha.example",
            json!({
                "title": "Email automation playbook", "summary": "Email automation for small teams.",
                "highlights": ["Automation templates"],
            }),
        )
        .competitor(
            "beta.example",
            json!({"title": "Newsletter growth", "summary": "Grow a newsletter with email automation."}),
        )
        .pillar("Newsletter growth", &["Subscriber surveys"])
        .event("How to grow a newsletter")
        .results(json!({"keyword_opportunities": [
            {"keyword": "email automation", "search_volume": 2400, "competition": "low"},
            {"keyword": "newsletter growth", "search_volume": 600},
        ]}))
}

fn close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-6, "{actual} is not {expected}");
}

#[test]
fn without_competitor_text_there_is_a_reason_and_what_is_stored() {
    let analysis = Rows::default()
        .competitor("silent.example", json!({"title": "2024", "relevance_score": 0.5}))
        .pillar("Email automation", &[])
        .results(json!({"content_gaps": [{"topic": "Webinars"}]}))
        .analyse();
    assert_eq!(reason(&analysis), Some("NO_COMPETITOR_TEXT"));
    assert_eq!((analysis.competitors_compared, analysis.topics_considered), (0, 0));
    assert_eq!(analysis.content_gaps.iter().map(|g| g.origin()).collect::<Vec<_>>(), [GapOrigin::Stored]);
    let [silent] = &analysis.competitor_insights[..] else { panic!("one competitor") };
    assert_eq!((silent.topic_coverage, silent.overlap, silent.relevance_score), (0.0, 0.0, Some(0.5)));
    assert_eq!(Rows::default().analyse(), GapAnalysis::default());
}

#[test]
fn without_texts_of_ours_nothing_is_covered_and_without_keywords_demand_is_unknown() {
    let mut rows = worked_example();
    (rows.pillars, rows.events, rows.onboarding.gap) = (Vec::new(), Vec::new(), GapRow::default());
    let keyword_analysis = KeywordAnalysis { high_value_keywords: vec!["Automation".into()], ..Default::default() };
    rows.onboarding.data = OnboardingData { keyword_analysis: Some(keyword_analysis), ..OnboardingData::default() };
    let analysis = rows.analyse();
    assert!(analysis.content_gaps.iter().all(|gap| gap.own_coverage == Some(0.0) && gap.demand == Some(0.5)));
    let [keyword] = &analysis.keyword_opportunities[..] else { panic!("the rules' keyword") };
    // 100 * 0.5 * (1 - 0.6 * 0.5)
    assert_eq!((keyword.opportunity_score, keyword.origin()), (35.0, GapOrigin::RuleDefault));
    assert_eq!((keyword.search_volume, keyword.competition), (None, None));
}

#[test]
fn with_three_competitors_a_topic_needs_two() {
    let competitor = |rows: Rows, domain: &str, title: &str| rows.competitor(domain, json!({"title": title}));
    let two = competitor(competitor(Rows::default(), "a", "webinars"), "b", "podcasts").analyse();
    assert_eq!(two.topics_considered, 2);
    let rows = competitor(competitor(competitor(Rows::default(), "a", "webinars"), "b", "podcasts"), "c", "webinars");
    let three = rows.analyse();
    assert_eq!(three.content_gaps.iter().map(|g| g.topic.as_str()).collect::<Vec<_>>(), ["webinars"]);
}

#[test]
fn topics_and_gaps_are_limited_and_ordered() {
    let topics: Vec<_> = (0..50).map(|n| format!("topic{n:02}")).collect();
    let lists = json!({"topics": topics, "themes": (0..9).map(|n| format!("theme{n}")).collect::<Vec<_>>()});
    let analysis = Rows::default().competitor("a.example", json!({"content_insights": lists})).analyse();
    assert_eq!((analysis.topics_considered, analysis.content_gaps.len()), (59, 20));
    // Equal figures: by term.
    assert_eq!(analysis.content_gaps[0].topic, "theme0");
    assert_eq!(analysis.recommendations.len(), 5);
    assert_eq!(analysis.opportunities.len(), 5);

    let mut crowded = Rows::default();
    for n in 0..12 {
        let subpages: Vec<_> = (0..50).map(|m| json!({"title": format!("word{n}x{m}")})).collect();
        for twin in ["a", "b"] {
            crowded = crowded.competitor(&format!("{twin}{n}.example"), json!({"subpages": subpages.clone()}));
        }
    }
    let analysis = crowded.analyse();
    assert_eq!((analysis.topics_considered, analysis.competitor_insights.len()), (200, 10));
}

#[test]
fn evidence_is_the_weightiest_by_domain_and_cut() {
    let long = format!("Webinars {}", "x".repeat(200));
    let analysis = Rows::default()
        .competitor("b.example", json!({"title": "Webinars", "summary": long}))
        .competitor("a.example", json!({"summary": "webinars", "highlights": ["Webinars"]}))
        .analyse();
    let gap = analysis.content_gaps.iter().find(|gap| gap.topic == "webinars").unwrap();
    let evidence: Vec<_> = gap.evidence.iter().map(|e| (e.competitor.as_str(), e.field.as_str())).collect();
    assert_eq!(evidence, [("b.example", "title"), ("a.example", "highlights[0]"), ("a.example", "summary")]);

    let analysis = Rows::default().competitor("a.example", json!({"title": long})).analyse();
    let text = &analysis.content_gaps[0].evidence[0].text;
    assert_eq!((text.chars().count(), text.ends_with('…')), (160, true));
}

#[test]
fn labels_are_the_weightiest_text_then_the_shortest() {
    for (titles, expected) in [
        (["Webinars", "webinar"], "webinar"),
        (["Automated", "automation"], "automated"),
        (["Webinars", "Webinars"], "webinars"),
    ] {
        let data = json!({"subpages": titles.map(|title| json!({"title": title}))});
        let analysis = Rows::default().competitor("a.example", data).analyse();
        assert_eq!(analysis.content_gaps[0].topic, expected);
    }
    let data = json!({"title": "Webinars", "summary": "webinar"});
    assert_eq!(Rows::default().competitor("a.example", data).analyse().content_gaps[0].topic, "webinars");
}

#[test]
fn stored_gaps_follow_in_their_order_unless_they_are_topics() {
    let analysis = worked_example()
        .results(json!({"content_gaps": [
            "Automations",
            {"topic": "Case studies", "gap_score": 80, "opportunity_size": "High - soon", "competitor_coverage": "low"},
            {"topic": "Webinars", "gap_score": "1"},
            {"topic": " ", "gap_score": 5},
            "Podcasts",
            {"topic": "Ebooks", "gap_score": -5},
        ]}))
        .analyse();
    let stored: Vec<_> = analysis.content_gaps.iter().filter(|gap| gap.origin() == GapOrigin::Stored).collect();
    let facts: Vec<_> = stored.iter().map(|g| (g.topic.as_str(), g.gap_score, g.priority.as_str())).collect();
    assert_eq!(
        facts,
        [
            ("Case studies", Some(0.8), "high"),
            ("Webinars", Some(0.01), "medium"),
            ("Podcasts", None, "medium"),
            ("Ebooks", None, "medium"),
        ]
    );
    assert_eq!((stored[0].competitor_coverage, stored[0].own_coverage), (Some(0.25), None));
    assert_eq!((stored[0].demand, stored[0].competitors_covering), (None, None));
    assert!(stored[0].evidence.is_empty());

    let many: Vec<_> = (0..12).map(|n| json!({"topic": format!("gap{n}"), "gap_score": 1})).collect();
    let analysis = Rows::default().results(json!({"content_gaps": many})).analyse();
    assert_eq!(analysis.content_gaps.len(), 10);
    assert_eq!(analysis.content_gaps[0].gap_score, Some(1.0));
}

#[test]
fn equal_keywords_are_one_with_the_first_of_each_attribute() {
    let mut rows = Rows::default().results(json!({"keyword_opportunities": [
        {"keyword": "Email automation", "difficulty": 40},
        {"term": "emails automated", "volume": "1000", "competition": 0.9},
        {"name": "automation email", "search_volume": "high"},
        {"keyword": "2024", "search_volume": -1},
        {"keyword": "", "term": " "},
        "the",
        5,
    ]}));
    rows.onboarding.gap.target_keywords = json!({"The": {"volume": 0}, "2025": {}});
    let keywords = rows.analyse().keyword_opportunities;
    let facts: Vec<_> =
        keywords.iter().map(|k| (&k.keyword[..], k.search_volume, k.competition, k.opportunity_score)).collect();
    assert_eq!(
        facts,
        [
            ("Email automation", Some(1000), Some(0.4), 76.0),
            ("automation email", None, None, 52.5),
            ("2024", None, None, 35.0),
            ("2025", None, None, 35.0),
            ("the", Some(0), None, 0.0),
        ]
    );
}

#[test]
fn keywords_are_limited_and_ordered_by_score_volume_and_text() {
    let many: Vec<_> = (0..300).map(|n| json!({"keyword": format!("word{n:03}"), "search_volume": 0})).collect();
    let analysis = Rows::default().results(json!({"keyword_opportunities": many})).analyse();
    assert_eq!(analysis.keyword_opportunities.len(), 30);
    // The greatest volume is 0: nobody searches for any of them.
    assert!(analysis.keyword_opportunities.iter().all(|keyword| keyword.opportunity_score == 0.0));
    assert_eq!(analysis.keyword_opportunities[29].keyword, "word029");

    let ties = json!([{"keyword": "bb", "search_volume": "high"}, {"keyword": "aa", "search_volume": "high"}]);
    let analysis = Rows::default().results(json!({"keyword_opportunities": ties})).analyse();
    assert_eq!(analysis.keyword_opportunities[0].keyword, "aa");
}

#[test]
fn keyword_advice_takes_three_and_opportunities_five_from_a_score_of_fifty() {
    let keywords: Vec<_> = (0..7)
        .map(|n| json!({"keyword": format!("word{n}"), "search_volume": 100, "competition": if n < 6 { 0.5 } else { 1.0 }}))
        .collect();
    let analysis = Rows::default().results(json!({"keyword_opportunities": keywords})).analyse();
    let advice: Vec<_> = analysis.recommendations.iter().map(|r| (r.r#type.as_str(), r.title.as_str())).collect();
    assert_eq!(
        advice,
        [
            ("Content Optimization", "Target word0"),
            ("Content Optimization", "Target word1"),
            ("Content Optimization", "Target word2")
        ]
    );
    assert_eq!(analysis.recommendations[0].generator(), Generator::Algorithm);
    assert_eq!(analysis.opportunities.len(), 5);
    assert_eq!(analysis.opportunities[0].score, Some(0.7));
    assert_eq!(analysis.opportunities[0].description, "Opportunity score 70.");
}

#[test]
fn stored_advice_and_opportunities_are_handed_on() {
    let mut rows = Rows::default();
    rows.onboarding.gap.recommendations = json!([
        "text", {"type": "no title"},
        {"type": "content", "title": "Write", "description": "Do", "priority": "Very high", "estimated_impact": "big",
         "implementation_time": "1 week"},
        {"title": "1"}, {"title": "2"}, {"title": "3"}, {"title": "4"}, {"title": "5"},
    ]);
    rows.onboarding.gap.opportunities = json!([
        "Webinars", {"title": "Podcasts", "description": "Talk", "priority": "low", "score": 40}, 7, "", "a", "b", "c", "d",
    ]);
    let analysis = rows.analyse();
    assert_eq!(analysis.recommendations.len(), 5);
    let first = &analysis.recommendations[0];
    assert_eq!((&first.title[..], &first.priority[..], first.generator()), ("Write", "high", Generator::Database));
    assert_eq!((&first.r#type[..], &first.implementation_time[..], first.ai_confidence), ("content", "1 week", None));
    let stored: Vec<_> =
        analysis.opportunities.iter().map(|o| (&o.title[..], &o.description[..], &o.priority[..], o.score)).collect();
    assert_eq!(
        stored,
        [
            ("Webinars", "", "medium", None),
            ("Podcasts", "Talk", "low", Some(0.4)),
            ("a", "", "medium", None),
            ("b", "", "medium", None),
            ("c", "", "medium", None),
        ]
    );
}

#[test]
fn insights_follow_relevance_and_take_points_from_the_stored_analysis_first() {
    let analyzed_at: DateTime<Utc> = DateTime::UNIX_EPOCH;
    let mut rows = Rows::default()
        .competitor(
            "b.example",
            json!({"relevance_score": 0.2, "competitive_analysis": {"competitive_advantages": ["own"]}}),
        )
        .competitor("a.example", json!({"relevance_score": "0.9", "title": "Site", "seo_audit": {"overall_score": 71}}))
        .results(json!({"competitor_insights": [
            {"competitor": "https://www.A.example/blog", "strengths": ["1", "2", "3", "4", "5", "6"],
             "weaknesses": "slow; old", "content_frequency": "weekly"},
        ]}));
    rows.onboarding.competitors[1].url = "https://a.example".to_owned();
    rows.onboarding.competitors[1].updated_at = Some(analyzed_at);
    let [a, b] = &rows.analyse().competitor_insights[..] else { panic!("two competitors") };
    assert_eq!(
        (&a.competitor[..], a.url.as_deref(), a.title.as_deref()),
        ("a.example", Some("https://a.example"), Some("Site"))
    );
    assert_eq!((a.strengths.len(), a.weaknesses.len(), a.content_frequency.as_deref()), (5, 2, Some("weekly")));
    assert_eq!((a.relevance_score, a.seo_score, a.last_analyzed_at), (Some(0.9), Some(71.0), Some(analyzed_at.into())));
    assert_eq!((&b.strengths[..], &b.url, &b.last_analyzed_at), (&["own".to_owned()][..], &None, &None));
}

#[test]
fn brand_and_strengths_count_as_covered_and_text_is_measured() {
    let mut rows = Rows::default().competitor("a.example", json!({"title": "Webinars podcasts"}));
    rows.onboarding.website = WebsiteRow {
        brand_analysis: json!({"brand_positioning": "podcasts", "competitive_differentiation": ["podcasts"]}),
        content_strategy_insights: json!({"strengths": "podcasts"}),
        seo_audit: Json::Null,
    };
    let strategy = rows.strategy();
    let input = rows.input(&strategy);
    assert_eq!(text_bytes(&input), "Webinars podcasts".len() + 3 * "podcasts".len());
    // Three passages of weight 1.
    close(Corpus::new(&input).own_coverage("podcast"), 3.0 / 4.2);
}
