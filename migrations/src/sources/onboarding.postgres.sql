-- What the planning application learns about a user while onboarding. Its tables; we only read them.
CREATE TABLE onboarding_sessions (
    id SERIAL PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    current_step INTEGER,
    progress FLOAT,
    payload JSON,
    started_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_onboarding_sessions_user ON onboarding_sessions (user_id, updated_at DESC, id DESC);

CREATE TABLE website_analyses (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions (id) ON DELETE CASCADE,
    website_url VARCHAR(500) NOT NULL,
    analysis_date TIMESTAMP,
    writing_style JSON,
    content_characteristics JSON,
    target_audience JSON,
    content_type JSON,
    recommended_settings JSON,
    brand_analysis JSON,
    content_strategy_insights JSON,
    social_media_presence JSON,
    crawl_result JSON,
    style_patterns JSON,
    style_guidelines JSON,
    seo_audit JSON,
    strategic_insights_history JSON,
    status VARCHAR(50),
    error_message TEXT,
    warning_message TEXT,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_website_analyses_session ON website_analyses (session_id);

CREATE TABLE research_preferences (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions (id) ON DELETE CASCADE,
    research_depth VARCHAR(50) NOT NULL,
    content_types JSON NOT NULL,
    auto_research BOOLEAN,
    factual_content BOOLEAN,
    writing_style JSON,
    content_characteristics JSON,
    target_audience JSON,
    recommended_settings JSON,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_research_preferences_session ON research_preferences (session_id);

CREATE TABLE platform_integrations (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions (id) ON DELETE CASCADE,
    primary_website VARCHAR(512),
    website_platforms JSON,
    analytics_platforms JSON,
    social_platforms JSON,
    connected_platforms JSON,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_platform_integrations_session ON platform_integrations (session_id);

CREATE TABLE persona_data (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions (id) ON DELETE CASCADE,
    core_persona JSON,
    platform_personas JSON,
    quality_metrics JSON,
    selected_platforms JSON,
    research_persona JSON,
    research_persona_generated_at TIMESTAMP,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_persona_data_session ON persona_data (session_id);

CREATE TABLE competitor_analyses (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions (id) ON DELETE CASCADE,
    competitor_url TEXT NOT NULL,
    competitor_domain VARCHAR(255),
    analysis_date TIMESTAMP,
    analysis_data JSON,
    status VARCHAR(50),
    error_message TEXT,
    warning_message TEXT,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_competitor_analyses_session ON competitor_analyses (session_id);

CREATE TABLE seo_page_audits (
    id SERIAL PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    website_url VARCHAR(500) NOT NULL,
    page_url VARCHAR(1000) NOT NULL,
    overall_score INTEGER,
    status VARCHAR(50),
    category_scores JSON,
    issues JSON,
    warnings JSON,
    recommendations JSON,
    audit_data JSON,
    analysis_source VARCHAR(50),
    last_analyzed_at TIMESTAMP,
    created_at TIMESTAMP,
    updated_at TIMESTAMP,
    CONSTRAINT uq_seo_page_audits_user_page UNIQUE (user_id, page_url)
);
CREATE INDEX ix_seo_page_audits_site ON seo_page_audits (user_id, website_url, overall_score, page_url);

CREATE TABLE deep_competitor_analysis_tasks (
    id SERIAL PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    website_url VARCHAR(500) NOT NULL,
    status VARCHAR(50),
    last_executed TIMESTAMP,
    last_success TIMESTAMP,
    last_failure TIMESTAMP,
    failure_reason TEXT,
    consecutive_failures INTEGER,
    failure_pattern JSON,
    next_execution TIMESTAMP,
    payload JSON,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_deep_tasks_user ON deep_competitor_analysis_tasks (user_id);

CREATE TABLE deep_competitor_analysis_execution_logs (
    id SERIAL PRIMARY KEY,
    task_id INTEGER NOT NULL REFERENCES deep_competitor_analysis_tasks (id),
    execution_date TIMESTAMP NOT NULL,
    status VARCHAR(50) NOT NULL,
    result_data JSON,
    error_message TEXT,
    execution_time_ms INTEGER,
    created_at TIMESTAMP
);
CREATE INDEX ix_deep_logs_task ON deep_competitor_analysis_execution_logs (task_id, execution_date DESC, id DESC);

CREATE TABLE content_gap_analyses (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    website_url VARCHAR(500) NOT NULL,
    competitor_urls JSON,
    target_keywords JSON,
    analysis_results JSON,
    recommendations JSON,
    opportunities JSON,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_content_gap_analyses_user ON content_gap_analyses (user_id);
