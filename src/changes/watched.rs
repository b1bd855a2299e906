//! What is watched: per source table the columns that we read, whom a row concerns, and which sections.
//!
//! Invariant: every column that a source's statement reads or sorts by stands here. `{row}` stands
//! for a row's alias.

use crate::model::{
    Section::{self, GapAnalysis, Onboarding, Performance, Recommendations, Strategy},
    SectionSet,
};

/// A table of the sources.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) table: &'static str,
    /// Compared as they are.
    pub(super) columns: &'static [&'static str],
    /// Compared as text: PostgreSQL's `json` knows no equality.
    pub(super) json: &'static [&'static str],
    /// A scalar expression: the user whom a row concerns, as text. NULL: nobody.
    pub(super) user: &'static str,
    /// A scalar expression: the strategy whom it concerns. None: all of the user's.
    pub(super) strategy: Option<&'static str>,
    /// What is read again; what is made from it follows.
    sections: &'static [Section],
    /// Of several rows with the same value here the one with the newest `updated_at` counts: then a change
    /// of `updated_at` alone is a change, but only if there is another row.
    pub(super) newest_of: Option<&'static str>,
}

impl Watched {
    /// As the outbox and the fence log store it.
    pub(super) fn bits(&self) -> i64 {
        self.sections.iter().copied().collect::<SectionSet>().bits()
    }

    /// Every column that a trigger names.
    pub(super) fn named(&self) -> impl Iterator<Item = &'static str> {
        let updated_at = self.newest_of.map(|_| "updated_at");
        ["id"].into_iter().chain(self.columns.iter().chain(self.json).copied()).chain(updated_at)
    }

    /// The user of a row with this alias.
    pub(super) fn user_of(&self, row: &str) -> String {
        self.user.replace("{row}", row)
    }

    /// The strategy of a row with this alias, or NULL.
    pub(super) fn strategy_of(&self, row: &str) -> String {
        self.strategy.map_or_else(|| "NULL".to_owned(), |strategy| strategy.replace("{row}", row))
    }
}

const OWN: &str = "{row}.user_id";
const OWN_NUMBER: &str = "CAST({row}.user_id AS TEXT)";
const OF_SESSION: &str = "(SELECT s.user_id FROM onboarding_sessions s WHERE s.id = {row}.session_id)";
const OF_TASK: &str = "(SELECT t.user_id FROM deep_competitor_analysis_tasks t WHERE t.id = {row}.task_id)";
const OF_ENHANCED: &str = "(SELECT e.user_id FROM enhanced_content_strategies e WHERE e.id = {row}.strategy_id)";
const OF_LEGACY: &str = "(SELECT CAST(s.user_id AS TEXT) FROM content_strategies s WHERE s.id = {row}.strategy_id)";
const OF_LEGACY_OR_EVENT: &str = "(SELECT CAST(s.user_id AS TEXT) FROM content_strategies s WHERE s.id = \
    COALESCE({row}.strategy_id, (SELECT c.strategy_id FROM calendar_events c WHERE c.id = {row}.event_id)))";

const STRATEGY: &[Section] = &[Strategy, Performance, Recommendations];

/// All of them; data.md section 13. Parents before their children.
pub(super) const WATCHED: [Watched; 16] = [
    Watched {
        table: "onboarding_sessions",
        columns: &["user_id"],
        json: &[],
        user: OWN,
        strategy: None,
        sections: &[Onboarding],
        newest_of: Some("user_id"),
    },
    Watched {
        table: "website_analyses",
        columns: &["session_id", "website_url", "status"],
        json: &[
            "writing_style",
            "target_audience",
            "content_type",
            "brand_analysis",
            "content_strategy_insights",
            "style_guidelines",
            "seo_audit",
            "strategic_insights_history",
        ],
        user: OF_SESSION,
        strategy: None,
        sections: &[Onboarding],
        newest_of: Some("session_id"),
    },
    Watched {
        table: "research_preferences",
        columns: &["session_id", "research_depth", "auto_research", "factual_content"],
        json: &["content_types", "writing_style", "target_audience"],
        user: OF_SESSION,
        strategy: None,
        sections: &[Onboarding],
        newest_of: Some("session_id"),
    },
    Watched {
        table: "persona_data",
        columns: &["session_id"],
        json: &["core_persona", "platform_personas", "selected_platforms"],
        user: OF_SESSION,
        strategy: None,
        sections: &[Onboarding],
        newest_of: Some("session_id"),
    },
    Watched {
        table: "competitor_analyses",
        columns: &["session_id", "competitor_url", "competitor_domain", "analysis_date"],
        json: &["analysis_data"],
        user: OF_SESSION,
        strategy: None,
        sections: &[Onboarding],
        newest_of: Some("session_id"),
    },
    Watched {
        table: "seo_page_audits",
        columns: &["user_id", "website_url", "page_url", "overall_score", "status"],
        json: &[],
        user: OWN,
        strategy: None,
        sections: &[Onboarding],
        newest_of: None,
    },
    Watched {
        table: "deep_competitor_analysis_tasks",
        columns: &["user_id", "website_url", "status", "next_execution"],
        json: &["payload"],
        user: OWN,
        strategy: None,
        sections: &[Onboarding],
        newest_of: Some("user_id"),
    },
    Watched {
        table: "deep_competitor_analysis_execution_logs",
        columns: &["task_id", "execution_date", "status"],
        json: &["result_data"],
        user: OF_TASK,
        strategy: None,
        sections: &[Onboarding],
        newest_of: None,
    },
    Watched {
        table: "content_gap_analyses",
        columns: &["user_id", "website_url"],
        json: &["target_keywords", "analysis_results", "recommendations", "opportunities"],
        user: OWN_NUMBER,
        strategy: None,
        sections: &[Onboarding, GapAnalysis],
        newest_of: Some("user_id"),
    },
    Watched {
        table: "enhanced_content_strategies",
        columns: &[
            "user_id",
            "name",
            "industry",
            "created_at",
            "completion_percentage",
            "content_budget",
            "team_size",
            "implementation_timeline",
            "market_share",
            "competitive_position",
            "content_frequency",
            "ab_testing_capabilities",
        ],
        json: &[
            "target_audience",
            "content_pillars",
            "ai_recommendations",
            "business_objectives",
            "target_metrics",
            "content_preferences",
            "consumption_patterns",
            "audience_pain_points",
            "buying_journey",
            "seasonal_trends",
            "engagement_metrics",
            "top_competitors",
            "competitor_content_strategies",
            "market_gaps",
            "industry_trends",
            "emerging_trends",
            "preferred_formats",
            "content_mix",
            "optimal_timing",
            "quality_metrics",
            "editorial_guidelines",
            "brand_voice",
            "traffic_sources",
            "conversion_rates",
            "content_roi_targets",
            "comprehensive_ai_analysis",
            "onboarding_data_used",
            "strategic_scores",
            "market_positioning",
            "competitive_advantages",
            "strategic_risks",
            "opportunity_analysis",
            "data_source_transparency",
        ],
        user: OWN,
        strategy: Some("{row}.id"),
        sections: STRATEGY,
        newest_of: None,
    },
    Watched {
        table: "strategy_activation_status",
        columns: &["strategy_id", "activation_date", "status", "performance_score", "last_updated"],
        json: &[],
        user: OF_ENHANCED,
        strategy: Some("{row}.strategy_id"),
        sections: STRATEGY,
        newest_of: None,
    },
    Watched {
        table: "strategy_performance_metrics",
        columns: &[
            "strategy_id",
            "user_id",
            "metric_date",
            "traffic_growth_percentage",
            "engagement_rate_percentage",
            "conversion_rate_percentage",
            "roi_ratio",
            "strategy_adoption_rate",
            "content_quality_score",
            "competitive_position_rank",
            "audience_growth_percentage",
            "confidence_score",
            "data_source",
        ],
        json: &[],
        user: OF_ENHANCED,
        strategy: Some("{row}.strategy_id"),
        sections: &[Strategy, Performance],
        newest_of: None,
    },
    Watched {
        table: "content_strategies",
        columns: &["user_id", "name", "industry", "created_at"],
        json: &["target_audience", "content_pillars", "ai_recommendations"],
        user: OWN_NUMBER,
        strategy: None,
        sections: &[Strategy, Performance, Recommendations, GapAnalysis],
        newest_of: None,
    },
    Watched {
        table: "calendar_events",
        columns: &["strategy_id", "title", "description", "content_type", "platform", "scheduled_date", "status"],
        json: &[],
        user: OF_LEGACY,
        strategy: None,
        sections: &[GapAnalysis, Performance],
        newest_of: None,
    },
    Watched {
        table: "content_analytics",
        columns: &["event_id", "strategy_id", "platform", "performance_score", "recorded_at"],
        json: &["metrics"],
        user: OF_LEGACY_OR_EVENT,
        strategy: None,
        sections: &[Performance],
        newest_of: None,
    },
    Watched {
        table: "content_recommendations",
        columns: &[
            "user_id",
            "strategy_id",
            "recommendation_type",
            "title",
            "description",
            "estimated_length",
            "priority",
            "estimated_performance",
            "status",
            "created_at",
        ],
        json: &["target_keywords", "platforms"],
        user: OWN_NUMBER,
        strategy: None,
        sections: &[Recommendations],
        newest_of: Some("user_id"),
    },
];
