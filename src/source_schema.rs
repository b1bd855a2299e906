//! The planning application's tables, as far as this service reads them.
//!
//! This is the only description of them: the readers of the sources' statements, the change triggers, the doctor and
//! the demo's inserts all work from it. docs/data.md sections 12 and 13 say the same in prose.
//! Invariant: each column that a `.sql` file of a source names is described here, and each one described is named there
//! (the triggers alone need every table's `id`).

use sea_orm::{ConnectionTrait, DbErr};

use crate::model::Section::{self, GapAnalysis, Onboarding, Performance, Recommendations, Strategy};
use Family::{Boolean, Double, Integer, Json, Text, Time};

/// How the values of a column are read, whatever type the column has in either database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Integer,
    Double,
    Boolean,
    Text,
    /// Without a time zone, in UTC.
    Time,
    Json,
}

/// Whose a row is.
#[derive(Debug)]
pub(crate) enum Owner {
    /// The user in the row's own `user_id`.
    UserId,
    /// The owner of the parent row that this column names; of several columns, the first that is not NULL counts.
    Parent(&'static [(&'static str, &'static SourceTable)]),
}

/// A table and the columns that are read from it.
#[derive(Debug)]
pub(crate) struct SourceTable {
    pub(crate) name: &'static str,
    pub(crate) owner: Owner,
    /// The column that names the enhanced strategy that a row is about. None: a row concerns all of the user's
    /// documents.
    pub(crate) strategy: Option<&'static str>,
    /// The sections that are read from the table. Sections made from these follow by themselves.
    pub(crate) sections: &'static [Section],
    /// Of several rows with the same value in this column, only the one with the newest `updated_at` is read. A new
    /// `updated_at` is then a change if there is another such row.
    pub(crate) newest_of: Option<&'static str>,
    /// Grouped by family, in the order in which a row's columns are read.
    columns: &'static [(Family, &'static [&'static str])],
}

impl SourceTable {
    /// The columns and how they are read.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static str, Family)> {
        self.columns.iter().flat_map(|(family, names)| names.iter().map(|name| (*name, *family)))
    }

    /// The family of a column; none if it is not read.
    #[must_use]
    pub(crate) fn family(&self, column: &str) -> Option<Family> {
        self.columns().find_map(|(name, family)| (name == column).then_some(family))
    }

    /// The described columns that are not among those of the database's table.
    fn lacks(&self, there: &[String]) -> Vec<&'static str> {
        self.columns().map(|(name, _)| name).filter(|name| !there.iter().any(|column| column == name)).collect()
    }
}

/// What a database lacks of a table.
#[derive(Debug)]
pub(crate) struct Lacking {
    pub(crate) table: &'static str,
    /// Empty: the whole table is missing.
    pub(crate) columns: Vec<&'static str>,
}

/// What the database lacks, in the order of [`TABLES`]. Changes nothing.
pub(crate) async fn lacking(db: &impl ConnectionTrait) -> Result<Vec<Lacking>, DbErr> {
    let mut lacking = Vec::new();
    for table in TABLES {
        let there = userdata_migrations::columns_of(db, table.name).await?;
        let columns = table.lacks(&there);
        if there.is_empty() {
            lacking.push(Lacking { table: table.name, columns: Vec::new() });
        } else if !columns.is_empty() {
            lacking.push(Lacking { table: table.name, columns });
        }
    }
    Ok(lacking)
}

/// All tables, parents before their children.
pub(crate) static TABLES: [&SourceTable; 16] = [
    &ONBOARDING_SESSIONS,
    &WEBSITE_ANALYSES,
    &RESEARCH_PREFERENCES,
    &PERSONA_DATA,
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
    columns: &[(Integer, &["id"]), (Text, &["user_id"]), (Time, &["updated_at"])],
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
    owner: Owner::Parent(&[("strategy_id", &LEGACY_STRATEGIES)]),
    strategy: None,
    sections: &[GapAnalysis, Performance],
    newest_of: None,
    columns: &[
        (Integer, &["id", "strategy_id"]),
        (Text, &["title", "description", "content_type", "platform", "status"]),
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
