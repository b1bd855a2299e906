//! Rows for tests: one user about whom nothing is known, and one who has everything.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::{
    aggregate::{
        rows::{CompetitorRow, Onboarding, ResolvedStrategy, Strategy, WebsiteRow},
        value::pillars,
    },
    proto::v1::{
        KeywordAnalysis, OnboardingData, OnboardingGaps, SeoProfile, SiteSeoSummary, StrategyData, StrategyKind,
    },
};

/// A LEGACY strategy with these pillars and nothing else.
pub(super) fn strategy(content_pillars: Json) -> Strategy {
    Strategy {
        resolved: ResolvedStrategy { kind: StrategyKind::Legacy, id: 7 },
        pillars: pillars(&content_pillars),
        row: json!({"content_pillars": content_pillars}),
        data: StrategyData::default(),
    }
}

/// A LEGACY strategy with what check A of the rules has: technology, four pillars, an audience.
pub(super) fn plain_strategy() -> Strategy {
    let mut strategy = strategy(json!(["a", "b", "c", "d"]));
    strategy.row["industry"] = "technology".into();
    strategy.row["target_audience"] = json!("developers");
    strategy
}

/// A user with one competitor and values that come from `source`.
pub(super) fn onboarding(source: &str) -> Onboarding {
    let list = |name: &str, count: usize| (1..=count).map(|n| format!("{name} {n}")).collect();
    let sources = ["content_gaps", "content_opportunities", "high_value_keywords"];
    Onboarding {
        website: WebsiteRow { seo_audit: json!({"overall_score": 71.5}), ..WebsiteRow::default() },
        competitors: vec![competitor("rival.example", 0.5)],
        data: OnboardingData {
            industry: Some("Retail".to_owned()),
            target_audience: Some(json!({"age": "18-30"}).into()),
            writing_tone: "warm".to_owned(),
            writing_voice: "personal".to_owned(),
            writing_complexity: "simple".to_owned(),
            content_types: list("type", 25),
            brand_values: list("value", 15),
            sources: sources.map(|key| (key.to_owned(), source.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
            gap_analysis: Some(OnboardingGaps {
                content_gaps: list("gap", 15),
                target_keywords: Vec::new(),
                content_opportunities: list("chance", 5),
            }),
            keyword_analysis: Some(KeywordAnalysis {
                high_value_keywords: list("keyword", 20),
                ..KeywordAnalysis::default()
            }),
            seo_profile: Some(SeoProfile {
                full_site_seo_summary: Some(SiteSeoSummary {
                    pages_audited: 3,
                    pages_scored: 2,
                    avg_score: 64.5,
                    ..SiteSeoSummary::default()
                }),
                ..SeoProfile::default()
            }),
            ..OnboardingData::default()
        },
        ..Onboarding::default()
    }
}

pub(super) fn competitor(domain: &str, relevance: f64) -> CompetitorRow {
    let data = json!({"relevance_score": relevance, "title": format!("About {domain}"), "summary": "s".repeat(500)});
    CompetitorRow { domain: domain.to_owned(), analysis_data: data, ..CompetitorRow::default() }
}
