//! The columns that are read, as docs/data.md section 12 lists them, and nothing else.

use userdata::model::Section;

/// A source table.
#[derive(Debug)]
pub struct Input {
    pub table: &'static str,
    /// Whose report names what is wrong with it.
    pub section: Section,
    pub plain: &'static [&'static str],
    pub json: &'static [&'static str],
}

/// All of them.
#[rustfmt::skip]
pub const INPUTS: [Input; 17] = [
    Input { table: "onboarding_sessions", section: Section::Onboarding, plain: &["id", "user_id", "updated_at"], json: &["payload"] },
    Input {
        table: "website_analyses", section: Section::Onboarding,
        plain: &["id", "session_id", "website_url", "status", "updated_at"],
        json: &["writing_style", "target_audience", "content_type", "brand_analysis", "content_strategy_insights",
                "style_guidelines", "seo_audit", "strategic_insights_history"],
    },
    Input {
        table: "research_preferences", section: Section::Onboarding,
        plain: &["id", "session_id", "research_depth", "auto_research", "factual_content", "updated_at"],
        json: &["content_types", "writing_style", "target_audience"],
    },
    Input {
        table: "persona_data", section: Section::Onboarding, plain: &["id", "session_id", "updated_at"],
        json: &["core_persona", "platform_personas", "selected_platforms"],
    },
    Input {
        table: "platform_integrations", section: Section::Onboarding, plain: &["id", "session_id", "updated_at"],
        json: &["connected_platforms", "social_platforms", "analytics_platforms", "website_platforms"],
    },
    Input {
        table: "competitor_analyses", section: Section::Onboarding,
        plain: &["id", "session_id", "competitor_url", "competitor_domain", "analysis_date", "updated_at"],
        json: &["analysis_data"],
    },
    Input {
        table: "seo_page_audits", section: Section::Onboarding,
        plain: &["user_id", "website_url", "page_url", "overall_score", "status"], json: &[],
    },
    Input {
        table: "deep_competitor_analysis_tasks", section: Section::Onboarding,
        plain: &["id", "user_id", "website_url", "status", "next_execution", "updated_at"], json: &["payload"],
    },
    Input {
        table: "deep_competitor_analysis_execution_logs", section: Section::Onboarding,
        plain: &["id", "task_id", "execution_date", "status"], json: &["result_data"],
    },
    Input {
        table: "content_gap_analyses", section: Section::Onboarding,
        plain: &["id", "user_id", "website_url", "updated_at"],
        json: &["target_keywords", "analysis_results", "recommendations", "opportunities"],
    },
    Input {
        table: "content_strategies", section: Section::Strategy,
        plain: &["id", "user_id", "name", "industry", "created_at", "updated_at"],
        json: &["target_audience", "content_pillars", "ai_recommendations"],
    },
    Input {
        table: "enhanced_content_strategies", section: Section::Strategy,
        plain: &["id", "user_id", "name", "industry", "content_budget", "team_size", "implementation_timeline",
                 "market_share", "competitive_position", "content_frequency", "ab_testing_capabilities",
                 "completion_percentage", "created_at", "updated_at"],
        json: &["target_audience", "content_pillars", "ai_recommendations", "business_objectives", "target_metrics",
                "content_preferences", "consumption_patterns", "audience_pain_points", "buying_journey",
                "seasonal_trends", "engagement_metrics", "top_competitors", "competitor_content_strategies",
                "market_gaps", "industry_trends", "emerging_trends", "preferred_formats", "content_mix",
                "optimal_timing", "quality_metrics", "editorial_guidelines", "brand_voice", "traffic_sources",
                "conversion_rates", "content_roi_targets", "performance_metrics", "comprehensive_ai_analysis", "onboarding_data_used",
                "strategic_scores", "market_positioning", "competitive_advantages", "strategic_risks",
                "opportunity_analysis", "data_source_transparency"],
    },
    Input {
        table: "strategy_activation_status", section: Section::Strategy,
        plain: &["id", "strategy_id", "activation_date", "status", "performance_score", "last_updated"], json: &[],
    },
    Input {
        table: "strategy_performance_metrics", section: Section::Performance,
        plain: &["id", "strategy_id", "user_id", "metric_date", "traffic_growth_percentage",
                 "engagement_rate_percentage", "conversion_rate_percentage", "roi_ratio", "strategy_adoption_rate",
                 "content_quality_score", "competitive_position_rank", "audience_growth_percentage",
                 "confidence_score", "data_source"],
        json: &[],
    },
    Input {
        table: "calendar_events", section: Section::Performance,
        plain: &["id", "strategy_id", "user_id", "title", "description", "content_type", "platform", "scheduled_date",
                 "status"],
        json: &[],
    },
    Input {
        table: "content_analytics", section: Section::Performance,
        plain: &["event_id", "strategy_id", "platform", "performance_score", "recorded_at"], json: &["metrics"],
    },
    Input {
        table: "content_recommendations", section: Section::Recommendations,
        plain: &["id", "strategy_id", "user_id", "recommendation_type", "title", "description", "estimated_length",
                 "priority", "estimated_performance", "status", "created_at", "updated_at"],
        json: &["target_keywords", "platforms"],
    },
];
