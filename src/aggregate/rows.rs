//! The rows that more than one source works on, as loaded: the sources hand these on to each other
//! beside their messages, because gap and AI analysis read texts that the document does not carry.
//!
//! A JSON column that is absent (NULL, `null`, broken, too large) is [`Json::Null`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::proto::v1::{OnboardingData, Pillar, StrategyData, StrategyKind};

/// What the onboarding source found. Kept beside the section (`onboarding/kept.rs`): a changed form of it is another
/// version there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Onboarding {
    /// Whether an onboarding session exists.
    pub session: bool,
    /// Whether anything of the user was found: a session, a deep task or a gap row.
    pub found: bool,
    /// The website's columns that other sources read; all `Null` without a website.
    pub website: WebsiteRow,
    /// Competitors, one per domain, newest first as read.
    pub competitors: Vec<CompetitorRow>,
    /// The stored gap analysis; all `Null` without a row.
    pub gap: GapRow,
    /// The message; its `sources` tell which values are rule defaults.
    #[serde(skip)]
    pub data: OnboardingData,
}

/// `website_analyses`, as far as gap and AI analysis read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebsiteRow {
    /// `brand_analysis`.
    pub brand_analysis: Json,
    /// `content_strategy_insights`.
    pub content_strategy_insights: Json,
    /// `seo_audit`.
    pub seo_audit: Json,
}

/// One row of `competitor_analyses`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompetitorRow {
    /// Lower case, without `www.`; one row per domain.
    pub domain: String,
    /// `competitor_url`.
    pub url: String,
    /// `analysis_date`.
    pub analysis_date: Option<DateTime<Utc>>,
    /// `updated_at`.
    pub updated_at: Option<DateTime<Utc>>,
    /// `analysis_data`.
    pub analysis_data: Json,
}

impl CompetitorRow {
    /// When it was last looked at: `analysis_date`, else `updated_at`.
    #[must_use]
    pub fn last_analyzed_at(&self) -> Option<DateTime<Utc>> {
        self.analysis_date.or(self.updated_at)
    }
}

/// Competitors by relevance (absent counts as 0) descending, then domain: the order of
/// `top_performers`, of competitor insights and of the model's input.
#[must_use]
pub fn by_relevance(competitors: &[CompetitorRow]) -> Vec<&CompetitorRow> {
    let relevance = |row: &CompetitorRow| {
        super::value::number(super::value::member(&row.analysis_data, "relevance_score")).unwrap_or(0.0)
    };
    let mut ordered: Vec<&CompetitorRow> = competitors.iter().collect();
    ordered.sort_by(|a, b| relevance(b).total_cmp(&relevance(a)).then_with(|| a.domain.cmp(&b.domain)));
    ordered
}

/// One row of `content_gap_analyses`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GapRow {
    /// `target_keywords`.
    pub target_keywords: Json,
    /// `analysis_results`.
    pub analysis_results: Json,
    /// `recommendations`.
    pub recommendations: Json,
    /// `opportunities`.
    pub opportunities: Json,
}

/// Which strategy is meant: known after the strategy source's first statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedStrategy {
    /// Which of the two id spaces.
    pub kind: StrategyKind,
    /// The row's id in it.
    pub id: i32,
}

/// What the strategy source found.
#[derive(Clone, Debug)]
pub struct Strategy {
    /// Which one.
    pub resolved: ResolvedStrategy,
    /// Its pillars, parsed.
    pub pillars: Vec<Pillar>,
    /// Its columns as loaded.
    pub row: StrategyRow,
    /// The message, quality objects included.
    pub data: StrategyData,
}

/// A strategy's columns; those that a LEGACY strategy does not have are absent.
#[derive(Clone, Debug, Default)]
pub struct StrategyRow {
    pub name: String,
    pub industry: Option<String>,
    pub target_audience: Json,
    pub content_pillars: Json,
    pub ai_recommendations: Json,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub completion_percentage: Option<f64>,
    pub business_objectives: Json,
    pub target_metrics: Json,
    pub content_budget: Option<f64>,
    pub team_size: Option<i32>,
    pub implementation_timeline: Option<String>,
    pub market_share: Option<String>,
    pub competitive_position: Option<String>,
    /// The newest metrics row's non-null metrics as an object; there is no such column.
    pub performance_metrics: Json,
    pub content_preferences: Json,
    pub consumption_patterns: Json,
    pub audience_pain_points: Json,
    pub buying_journey: Json,
    pub seasonal_trends: Json,
    pub engagement_metrics: Json,
    pub top_competitors: Json,
    pub competitor_content_strategies: Json,
    pub market_gaps: Json,
    pub industry_trends: Json,
    pub emerging_trends: Json,
    pub preferred_formats: Json,
    pub content_mix: Json,
    pub content_frequency: Option<String>,
    pub optimal_timing: Json,
    pub quality_metrics: Json,
    pub editorial_guidelines: Json,
    pub brand_voice: Json,
    pub traffic_sources: Json,
    pub conversion_rates: Json,
    pub content_roi_targets: Json,
    pub ab_testing_capabilities: Option<bool>,
    pub comprehensive_ai_analysis: Json,
    pub onboarding_data_used: Json,
    pub strategic_scores: Json,
    pub market_positioning: Json,
    pub competitive_advantages: Json,
    pub strategic_risks: Json,
    pub opportunity_analysis: Json,
    pub data_source_transparency: Json,
}

/// The nine integer columns of `strategy_performance_metrics`, in the contract's order.
pub const STRATEGY_METRICS: [&str; 9] = [
    "traffic_growth_percentage",
    "engagement_rate_percentage",
    "conversion_rate_percentage",
    "roi_ratio",
    "strategy_adoption_rate",
    "content_quality_score",
    "competitive_position_rank",
    "audience_growth_percentage",
    "confidence_score",
];
