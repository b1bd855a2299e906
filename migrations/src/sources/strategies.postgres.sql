-- Content strategies of the planning application, in two id spaces. Its tables; we only read them.
CREATE TABLE content_strategies (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    name VARCHAR(255) NOT NULL,
    industry VARCHAR(100),
    target_audience JSON,
    content_pillars JSON,
    ai_recommendations JSON,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_content_strategies_user ON content_strategies (user_id, id);

CREATE TABLE enhanced_content_strategies (
    id SERIAL PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    name VARCHAR(255) NOT NULL,
    industry VARCHAR(100),
    target_audience JSON,
    content_pillars JSON,
    ai_recommendations JSON,
    business_objectives JSON,
    target_metrics JSON,
    content_budget FLOAT,
    team_size INTEGER,
    implementation_timeline VARCHAR(100),
    market_share VARCHAR(50),
    competitive_position VARCHAR(50),
    content_preferences JSON,
    consumption_patterns JSON,
    audience_pain_points JSON,
    buying_journey JSON,
    seasonal_trends JSON,
    engagement_metrics JSON,
    top_competitors JSON,
    competitor_content_strategies JSON,
    market_gaps JSON,
    industry_trends JSON,
    emerging_trends JSON,
    preferred_formats JSON,
    content_mix JSON,
    content_frequency VARCHAR(50),
    optimal_timing JSON,
    quality_metrics JSON,
    editorial_guidelines JSON,
    brand_voice JSON,
    traffic_sources JSON,
    conversion_rates JSON,
    content_roi_targets JSON,
    ab_testing_capabilities BOOLEAN,
    performance_metrics JSON,
    comprehensive_ai_analysis JSON,
    onboarding_data_used JSON,
    strategic_scores JSON,
    market_positioning JSON,
    competitive_advantages JSON,
    strategic_risks JSON,
    opportunity_analysis JSON,
    data_source_transparency JSON,
    completion_percentage FLOAT,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_enhanced_strategies_user ON enhanced_content_strategies (user_id, created_at DESC, id DESC);

CREATE TABLE strategy_activation_status (
    id SERIAL PRIMARY KEY,
    strategy_id INTEGER NOT NULL REFERENCES enhanced_content_strategies (id),
    user_id INTEGER NOT NULL,
    activation_date TIMESTAMP,
    status VARCHAR(50),
    performance_score INTEGER,
    last_updated TIMESTAMP
);
CREATE INDEX ix_strategy_activation_strategy ON strategy_activation_status (strategy_id, status);

CREATE TABLE strategy_performance_metrics (
    id SERIAL PRIMARY KEY,
    strategy_id INTEGER NOT NULL REFERENCES enhanced_content_strategies (id),
    user_id VARCHAR(255) NOT NULL,
    metric_date TIMESTAMP,
    traffic_growth_percentage INTEGER,
    engagement_rate_percentage INTEGER,
    conversion_rate_percentage INTEGER,
    roi_ratio INTEGER,
    strategy_adoption_rate INTEGER,
    content_quality_score INTEGER,
    competitive_position_rank INTEGER,
    audience_growth_percentage INTEGER,
    confidence_score INTEGER,
    data_source VARCHAR(100),
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE INDEX ix_strategy_metrics_strategy ON strategy_performance_metrics (strategy_id, metric_date DESC, id DESC);
