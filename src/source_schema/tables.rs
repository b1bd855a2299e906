//! The description of each table.

use super::{
    Family::{Boolean, Double, Integer, Json, Text, Time},
    Owner, SourceTable,
};
use crate::model::Section::{GapAnalysis, Onboarding, Performance, Recommendations, Strategy};

/// All tables, parents before their children.
pub(crate) static TABLES: [&SourceTable; 17] = [
    &ONBOARDING_SESSIONS,
    &WEBSITE_ANALYSES,
    &RESEARCH_PREFERENCES,
    &PERSONA_DATA,
    &PLATFORM_INTEGRATIONS,
    &COMPETITOR_ANALYSES,
    &SEO_PAGE_AUDITS,
    &DEEP_TASKS,
    &DEEP_TASK_LOGS,
    &CONTENT_GAP_ANALYSES,
    &ENHANCED_STRATEGIES,
    &STRATEGY_ACTIVATIONS,
    &STRATEGY_METRICS,
    &LEGACY_STRATEGIES,
    &CALENDAR_EVENTS,
    &CONTENT_ANALYTICS,
    &CONTENT_RECOMMENDATIONS,
];

const OF_SESSION: Owner = Owner::Parent(&[("session_id", &ONBOARDING_SESSIONS)]);
const OF_ENHANCED_STRATEGY: Owner = Owner::Parent(&[("strategy_id", &ENHANCED_STRATEGIES)]);

pub(crate) static ONBOARDING_SESSIONS: SourceTable = SourceTable {
    name: "onboarding_sessions",
    owner: Owner::UserId,
    strategy: None,
    sections: &[Onboarding],
    newest_of: Some("user_id"),
    columns: &[(Integer, &["id"]), (Text, &["user_id"]), (Time, &["updated_at"]), (Json, &["payload"])],
};

pub(crate) static WEBSITE_ANALYSES: SourceTable = SourceTable {
    name: "website_analyses",
    owner: OF_SESSION,
    strategy: None,
    sections: &[Onboarding],
    newest_of: Some("session_id"),
    columns: &[
        (Integer, &["id", "session_id"]),
        (Text, &["website_url", "status"]),
        (Time, &["updated_at"]),
        (Json, &["writing_style", "target_audience", "content_type", "style_guidelines", "strategic_insights_history"]),
        (Json, &["brand_analysis", "content_strategy_insights", "seo_audit"]),
    ],
};

pub(crate) static RESEARCH_PREFERENCES: SourceTable = SourceTable {
    name: "research_preferences",
    owner: OF_SESSION,
    strategy: None,
    sections: &[Onboarding],
    newest_of: Some("session_id"),
    columns: &[
        (Integer, &["id", "session_id"]),
        (Text, &["research_depth"]),
        (Boolean, &["auto_research", "factual_content"]),
        (Time, &["updated_at"]),
        (Json, &["content_types", "writing_style", "target_audience"]),
    ],
};

pub(crate) static PERSONA_DATA: SourceTable = SourceTable {
    name: "persona_data",
    owner: OF_SESSION,
    strategy: None,
    sections: &[Onboarding],
    newest_of: Some("session_id"),
    columns: &[
        (Integer, &["id", "session_id"]),
        (Time, &["updated_at"]),
        (Json, &["core_persona", "platform_personas", "selected_platforms"]),
    ],
};

pub(crate) static PLATFORM_INTEGRATIONS: SourceTable = SourceTable {
    name: "platform_integrations",
    owner: OF_SESSION,
    strategy: None,
    sections: &[Onboarding],
    newest_of: Some("session_id"),
    columns: &[
        (Integer, &["id", "session_id"]),
        (Time, &["updated_at"]),
        (Json, &["connected_platforms", "social_platforms", "analytics_platforms", "website_platforms"]),
    ],
};

pub(crate) static COMPETITOR_ANALYSES: SourceTable = SourceTable {
    name: "competitor_analyses",
    owner: OF_SESSION,
    strategy: None,
    sections: &[Onboarding],
    newest_of: Some("session_id"),
    columns: &[
        (Integer, &["id", "session_id"]),
        (Text, &["competitor_url", "competitor_domain"]),
        (Time, &["analysis_date", "updated_at"]),
        (Json, &["analysis_data"]),
    ],
};

pub(crate) static SEO_PAGE_AUDITS: SourceTable = SourceTable {
    name: "seo_page_audits",
    owner: Owner::UserId,
    strategy: None,
    sections: &[Onboarding],
    newest_of: None,
    columns: &[(Integer, &["id", "overall_score"]), (Text, &["user_id", "website_url", "page_url", "status"])],
};

pub(crate) static DEEP_TASKS: SourceTable = SourceTable {
    name: "deep_competitor_analysis_tasks",
    owner: Owner::UserId,
    strategy: None,
    sections: &[Onboarding],
    newest_of: Some("user_id"),
    columns: &[
        (Integer, &["id"]),
        (Text, &["user_id", "website_url", "status"]),
        (Time, &["next_execution", "updated_at"]),
        (Json, &["payload"]),
    ],
};

pub(crate) static DEEP_TASK_LOGS: SourceTable = SourceTable {
    name: "deep_competitor_analysis_execution_logs",
    owner: Owner::Parent(&[("task_id", &DEEP_TASKS)]),
    strategy: None,
    sections: &[Onboarding],
    newest_of: None,
    columns: &[
        (Integer, &["id", "task_id"]),
        (Time, &["execution_date"]),
        (Text, &["status"]),
        (Json, &["result_data"]),
    ],
};

pub(crate) static CONTENT_GAP_ANALYSES: SourceTable = SourceTable {
    name: "content_gap_analyses",
    owner: Owner::UserId,
    strategy: None,
    sections: &[Onboarding, GapAnalysis],
    newest_of: Some("user_id"),
    columns: &[
        (Integer, &["id", "user_id"]),
        (Text, &["website_url"]),
        (Time, &["updated_at"]),
        (Json, &["target_keywords", "analysis_results", "recommendations", "opportunities"]),
    ],
};

pub(crate) static ENHANCED_STRATEGIES: SourceTable = SourceTable {
    name: "enhanced_content_strategies",
    owner: Owner::UserId,
    strategy: Some("id"),
    sections: &[Strategy, Performance, Recommendations],
    newest_of: None,
    columns: &[
        (Integer, &["id"]),
        (Text, &["user_id", "name", "industry"]),
        (Json, &["target_audience", "content_pillars", "ai_recommendations"]),
        (Time, &["created_at", "updated_at"]),
        (Double, &["completion_percentage", "content_budget"]),
        (Integer, &["team_size"]),
        (Text, &["implementation_timeline", "market_share", "competitive_position", "content_frequency"]),
        (Boolean, &["ab_testing_capabilities"]),
        (
            Json,
            &[
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
                "performance_metrics",
                "comprehensive_ai_analysis",
                "onboarding_data_used",
                "strategic_scores",
                "market_positioning",
                "competitive_advantages",
                "strategic_risks",
                "opportunity_analysis",
                "data_source_transparency",
            ],
        ),
    ],
};

pub(crate) static STRATEGY_ACTIVATIONS: SourceTable = SourceTable {
    name: "strategy_activation_status",
    owner: OF_ENHANCED_STRATEGY,
    strategy: Some("strategy_id"),
    sections: &[Strategy, Performance, Recommendations],
    newest_of: None,
    columns: &[
        (Integer, &["id", "strategy_id", "performance_score"]),
        (Time, &["activation_date", "last_updated"]),
        (Text, &["status"]),
    ],
};

/// The integer columns of `strategy_performance_metrics` that hold a metric. The contract's messages name them alike.
pub(crate) const METRICS: [&str; 9] = [
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

pub(crate) static STRATEGY_METRICS: SourceTable = SourceTable {
    name: "strategy_performance_metrics",
    owner: OF_ENHANCED_STRATEGY,
    strategy: Some("strategy_id"),
    sections: &[Strategy, Performance],
    newest_of: None,
    columns: &[
        (Integer, &["id", "strategy_id"]),
        (Text, &["user_id", "data_source"]),
        (Time, &["metric_date"]),
        (Integer, &METRICS),
    ],
};

pub(crate) static LEGACY_STRATEGIES: SourceTable = SourceTable {
    name: "content_strategies",
    owner: Owner::UserId,
    strategy: None,
    sections: &[Strategy, Performance, Recommendations, GapAnalysis],
    newest_of: None,
    columns: &[
        (Integer, &["id", "user_id"]),
        (Text, &["name", "industry"]),
        (Json, &["target_audience", "content_pillars", "ai_recommendations"]),
        (Time, &["created_at", "updated_at"]),
    ],
};

pub(crate) static CALENDAR_EVENTS: SourceTable = SourceTable {
    name: "calendar_events",
    owner: Owner::UserIdOrParent(&[("strategy_id", &LEGACY_STRATEGIES)]),
    strategy: None,
    sections: &[GapAnalysis, Performance],
    newest_of: None,
    columns: &[
        (Integer, &["id", "strategy_id"]),
        (Text, &["user_id", "title", "description", "content_type", "platform", "status"]),
        (Time, &["scheduled_date"]),
    ],
};

pub(crate) static CONTENT_ANALYTICS: SourceTable = SourceTable {
    name: "content_analytics",
    owner: Owner::Parent(&[("strategy_id", &LEGACY_STRATEGIES), ("event_id", &CALENDAR_EVENTS)]),
    strategy: None,
    sections: &[Performance],
    newest_of: None,
    columns: &[
        (Integer, &["id", "event_id", "strategy_id"]),
        (Text, &["platform"]),
        (Double, &["performance_score"]),
        (Time, &["recorded_at"]),
        (Json, &["metrics"]),
    ],
};

pub(crate) static CONTENT_RECOMMENDATIONS: SourceTable = SourceTable {
    name: "content_recommendations",
    owner: Owner::UserId,
    strategy: None,
    sections: &[Recommendations],
    newest_of: Some("user_id"),
    columns: &[
        (Integer, &["id", "user_id", "strategy_id"]),
        (Text, &["recommendation_type", "title", "description", "estimated_length", "priority"]),
        (Text, &["estimated_performance", "status"]),
        (Time, &["created_at", "updated_at"]),
        (Json, &["target_keywords", "platforms"]),
    ],
};
