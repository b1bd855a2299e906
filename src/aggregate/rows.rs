//! The rows that more than one source works on, as read. Gap and AI analysis need texts that the document does not
//! carry.
//!
//! A JSON column that is absent (NULL, `null`, broken, too large) is [`Json::Null`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::proto::v1::{OnboardingData, Pillar, StrategyData, StrategyKind};

/// The result of the onboarding source. It is stored beside the section (`onboarding/kept.rs`): a change of its form
/// needs a new version there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Onboarding {
    pub session: bool,
    /// Whether a session, a deep task or a gap row of the user exists.
    pub found: bool,
    /// All `Null` without a website.
    pub website: WebsiteRow,
    /// One per domain, newest first.
    pub competitors: Vec<CompetitorRow>,
    /// The stored gap analysis; all `Null` without a row.
    pub gap: GapRow,
    /// The message; its `sources` say which values are rule defaults.
    #[serde(skip)]
    pub data: OnboardingData,
}

/// `website_analyses`, as far as gap and AI analysis read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebsiteRow {
    pub brand_analysis: Json,
    pub content_strategy_insights: Json,
    pub seo_audit: Json,
}

/// One row of `competitor_analyses`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompetitorRow {
    /// Lower case, without `www.`; one row per domain.
    pub domain: String,
    /// The column `competitor_url`.
    pub url: String,
    pub analysis_date: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub analysis_data: Json,
}

impl CompetitorRow {
    /// `analysis_date`, else `updated_at`.
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
#[serde(default)]
pub struct GapRow {
    pub target_keywords: Json,
    pub analysis_results: Json,
    pub recommendations: Json,
    pub opportunities: Json,
}

/// The strategy that a document is about: known after the strategy source's first statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedStrategy {
    pub kind: StrategyKind,
    /// The two kinds have separate id spaces.
    pub id: i32,
}

impl ResolvedStrategy {
    /// The id of a legacy strategy: calendars, analytics and recommendations refer to no other.
    #[must_use]
    pub fn legacy(self) -> Option<i32> {
        (self.kind == StrategyKind::Legacy).then_some(self.id)
    }
}

/// The result of the strategy source.
#[derive(Clone, Debug)]
pub struct Strategy {
    pub resolved: ResolvedStrategy,
    pub pillars: Vec<Pillar>,
    /// An object of the columns that are not absent, by name. A LEGACY strategy has only some of them.
    pub row: Json,
    /// The message, including the quality objects.
    pub data: StrategyData,
}
