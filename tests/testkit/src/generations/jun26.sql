-- The planning application's tables on 2026-06-13 (ce9bf293): users are texts, but in four tables still integers.
-- As create_all makes them on SQLite; `generations.rs` says what PostgreSQL has instead. No column has a default.

CREATE TABLE onboarding_sessions (
    id INTEGER NOT NULL, user_id VARCHAR(255) NOT NULL, current_step INTEGER, progress FLOAT, started_at DATETIME,
    updated_at DATETIME, PRIMARY KEY (id)
);

CREATE TABLE website_analyses (
    id INTEGER NOT NULL, session_id INTEGER NOT NULL, website_url VARCHAR(500) NOT NULL, analysis_date DATETIME,
    writing_style JSON, content_characteristics JSON, target_audience JSON, content_type JSON,
    recommended_settings JSON, brand_analysis JSON, content_strategy_insights JSON, social_media_presence JSON,
    crawl_result JSON, style_patterns JSON, style_guidelines JSON, seo_audit JSON, strategic_insights_history JSON,
    status VARCHAR(50), error_message TEXT, warning_message TEXT, created_at DATETIME, updated_at DATETIME,
    PRIMARY KEY (id), FOREIGN KEY (session_id) REFERENCES onboarding_sessions (id) ON DELETE CASCADE
);

CREATE TABLE research_preferences (
    id INTEGER NOT NULL, session_id INTEGER NOT NULL, research_depth VARCHAR(50) NOT NULL,
    content_types JSON NOT NULL, auto_research BOOLEAN, factual_content BOOLEAN, writing_style JSON,
    content_characteristics JSON, target_audience JSON, recommended_settings JSON, created_at DATETIME,
    updated_at DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (session_id) REFERENCES onboarding_sessions (id) ON DELETE CASCADE
);

CREATE TABLE persona_data (
    id INTEGER NOT NULL, session_id INTEGER NOT NULL, core_persona JSON, platform_personas JSON, quality_metrics JSON,
    selected_platforms JSON, research_persona JSON, research_persona_generated_at DATETIME, created_at DATETIME,
    updated_at DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (session_id) REFERENCES onboarding_sessions (id) ON DELETE CASCADE
);

CREATE TABLE competitor_analyses (
    id INTEGER NOT NULL, session_id INTEGER NOT NULL, competitor_url TEXT NOT NULL, competitor_domain VARCHAR(255),
    analysis_date DATETIME, analysis_data JSON, status VARCHAR(50), error_message TEXT, warning_message TEXT,
    created_at DATETIME, updated_at DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (session_id) REFERENCES onboarding_sessions (id) ON DELETE CASCADE
);

CREATE TABLE seo_page_audits (
    id INTEGER NOT NULL, user_id VARCHAR(255) NOT NULL, website_url VARCHAR(500) NOT NULL,
    page_url VARCHAR(1000) NOT NULL, overall_score INTEGER, status VARCHAR(50), category_scores JSON, issues JSON,
    warnings JSON, recommendations JSON, audit_data JSON, analysis_source VARCHAR(50), last_analyzed_at DATETIME,
    created_at DATETIME, updated_at DATETIME, PRIMARY KEY (id),
    CONSTRAINT uq_seo_page_audits_user_page UNIQUE (user_id, page_url)
);
CREATE INDEX ix_seo_page_audits_page_url ON seo_page_audits (page_url);
CREATE INDEX ix_seo_page_audits_status ON seo_page_audits (status);
CREATE INDEX ix_seo_page_audits_user_id ON seo_page_audits (user_id);
CREATE INDEX ix_seo_page_audits_website_url ON seo_page_audits (website_url);

CREATE TABLE deep_competitor_analysis_tasks (
    id INTEGER NOT NULL, user_id VARCHAR(255) NOT NULL, website_url VARCHAR(500) NOT NULL, status VARCHAR(50),
    last_executed DATETIME, last_success DATETIME, last_failure DATETIME, failure_reason TEXT,
    consecutive_failures INTEGER, failure_pattern JSON, next_execution DATETIME, payload JSON, created_at DATETIME,
    updated_at DATETIME, PRIMARY KEY (id)
);
CREATE INDEX idx_deep_competitor_analysis_tasks_next_execution ON deep_competitor_analysis_tasks (next_execution);
CREATE INDEX idx_deep_competitor_analysis_tasks_status ON deep_competitor_analysis_tasks (status);
CREATE INDEX idx_deep_competitor_analysis_tasks_user_site ON deep_competitor_analysis_tasks (user_id, website_url);
CREATE INDEX ix_deep_competitor_analysis_tasks_id ON deep_competitor_analysis_tasks (id);
CREATE INDEX ix_deep_competitor_analysis_tasks_next_execution ON deep_competitor_analysis_tasks (next_execution);
CREATE INDEX ix_deep_competitor_analysis_tasks_status ON deep_competitor_analysis_tasks (status);
CREATE INDEX ix_deep_competitor_analysis_tasks_user_id ON deep_competitor_analysis_tasks (user_id);
CREATE INDEX ix_deep_competitor_analysis_tasks_website_url ON deep_competitor_analysis_tasks (website_url);

CREATE TABLE deep_competitor_analysis_execution_logs (
    id INTEGER NOT NULL, task_id INTEGER NOT NULL, execution_date DATETIME NOT NULL, status VARCHAR(50) NOT NULL,
    result_data JSON, error_message TEXT, execution_time_ms INTEGER, created_at DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (task_id) REFERENCES deep_competitor_analysis_tasks (id)
);
CREATE INDEX idx_deep_competitor_analysis_execution_logs_status ON deep_competitor_analysis_execution_logs (status);
CREATE INDEX idx_deep_competitor_analysis_execution_logs_task_date ON deep_competitor_analysis_execution_logs (task_id, execution_date);
CREATE INDEX ix_deep_competitor_analysis_execution_logs_id ON deep_competitor_analysis_execution_logs (id);
CREATE INDEX ix_deep_competitor_analysis_execution_logs_task_id ON deep_competitor_analysis_execution_logs (task_id);

CREATE TABLE enhanced_content_strategies (
    id INTEGER NOT NULL, user_id VARCHAR(255) NOT NULL, name VARCHAR(255) NOT NULL, industry VARCHAR(100),
    business_objectives JSON, target_metrics JSON, content_budget FLOAT, team_size INTEGER,
    implementation_timeline VARCHAR(100), market_share VARCHAR(50), competitive_position VARCHAR(50),
    content_preferences JSON, consumption_patterns JSON, audience_pain_points JSON, buying_journey JSON,
    seasonal_trends JSON, engagement_metrics JSON, top_competitors JSON, competitor_content_strategies JSON,
    market_gaps JSON, industry_trends JSON, emerging_trends JSON, preferred_formats JSON, content_mix JSON,
    content_frequency VARCHAR(50), optimal_timing JSON, quality_metrics JSON, editorial_guidelines JSON,
    brand_voice JSON, traffic_sources JSON, conversion_rates JSON, content_roi_targets JSON,
    ab_testing_capabilities BOOLEAN, target_audience JSON, content_pillars JSON, ai_recommendations JSON,
    comprehensive_ai_analysis JSON, onboarding_data_used JSON, strategic_scores JSON, market_positioning JSON,
    competitive_advantages JSON, strategic_risks JSON, opportunity_analysis JSON, created_at DATETIME,
    updated_at DATETIME, completion_percentage FLOAT, data_source_transparency JSON, PRIMARY KEY (id)
);

CREATE TABLE strategy_performance_metrics (
    id INTEGER NOT NULL, strategy_id INTEGER NOT NULL, user_id VARCHAR(255) NOT NULL, metric_date DATETIME,
    traffic_growth_percentage INTEGER, engagement_rate_percentage INTEGER, conversion_rate_percentage INTEGER,
    roi_ratio INTEGER, strategy_adoption_rate INTEGER, content_quality_score INTEGER,
    competitive_position_rank INTEGER, audience_growth_percentage INTEGER, data_source VARCHAR(100),
    confidence_score INTEGER, created_at DATETIME, updated_at DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (strategy_id) REFERENCES enhanced_content_strategies (id)
);
CREATE INDEX ix_strategy_performance_metrics_id ON strategy_performance_metrics (id);

CREATE TABLE strategy_activation_status (
    id INTEGER NOT NULL, strategy_id INTEGER NOT NULL, user_id INTEGER NOT NULL, activation_date DATETIME,
    status VARCHAR(50), performance_score INTEGER, last_updated DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (strategy_id) REFERENCES enhanced_content_strategies (id)
);
CREATE INDEX ix_strategy_activation_status_id ON strategy_activation_status (id);

CREATE TABLE content_strategies (
    id INTEGER NOT NULL, user_id INTEGER NOT NULL, name VARCHAR(255) NOT NULL, industry VARCHAR(100),
    target_audience JSON, content_pillars JSON, ai_recommendations JSON, created_at DATETIME, updated_at DATETIME,
    PRIMARY KEY (id)
);

CREATE TABLE calendar_events (
    id INTEGER NOT NULL, strategy_id INTEGER NOT NULL, title VARCHAR(255) NOT NULL, description TEXT,
    content_type VARCHAR(50) NOT NULL, platform VARCHAR(50) NOT NULL, scheduled_date DATETIME NOT NULL,
    status VARCHAR(20), ai_recommendations JSON, created_at DATETIME, updated_at DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (strategy_id) REFERENCES content_strategies (id)
);

CREATE TABLE content_analytics (
    id INTEGER NOT NULL, event_id INTEGER, strategy_id INTEGER, platform VARCHAR(50) NOT NULL, metrics JSON,
    performance_score FLOAT, recorded_at DATETIME, PRIMARY KEY (id),
    FOREIGN KEY (event_id) REFERENCES calendar_events (id),
    FOREIGN KEY (strategy_id) REFERENCES content_strategies (id)
);

CREATE TABLE content_gap_analyses (
    id INTEGER NOT NULL, user_id INTEGER NOT NULL, website_url VARCHAR(500) NOT NULL, competitor_urls JSON,
    target_keywords JSON, analysis_results JSON, recommendations JSON, opportunities JSON, created_at DATETIME,
    updated_at DATETIME, PRIMARY KEY (id)
);

CREATE TABLE content_recommendations (
    id INTEGER NOT NULL, strategy_id INTEGER, user_id INTEGER NOT NULL, recommendation_type VARCHAR(50) NOT NULL,
    title VARCHAR(255) NOT NULL, description TEXT, target_keywords JSON, estimated_length VARCHAR(100),
    priority VARCHAR(20), platforms JSON, estimated_performance VARCHAR(100), status VARCHAR(20), created_at DATETIME,
    updated_at DATETIME, PRIMARY KEY (id), FOREIGN KEY (strategy_id) REFERENCES content_strategies (id)
);
