-- What was planned and how it did. The planning application's tables; we only read them.
CREATE TABLE calendar_events (
    id INTEGER PRIMARY KEY,
    strategy_id INTEGER NOT NULL REFERENCES content_strategies (id),
    title VARCHAR(255) NOT NULL,
    description TEXT,
    content_type VARCHAR(50) NOT NULL,
    platform VARCHAR(50) NOT NULL,
    scheduled_date DATETIME NOT NULL,
    status VARCHAR(20),
    ai_recommendations JSON,
    user_id VARCHAR(255) NOT NULL DEFAULT '',
    created_at DATETIME,
    updated_at DATETIME
);
CREATE INDEX ix_calendar_events_user ON calendar_events (user_id, scheduled_date DESC, id DESC);
CREATE INDEX ix_calendar_events_strategy ON calendar_events (strategy_id, scheduled_date DESC, id DESC);

CREATE TABLE content_analytics (
    id INTEGER PRIMARY KEY,
    event_id INTEGER REFERENCES calendar_events (id),
    strategy_id INTEGER REFERENCES content_strategies (id),
    platform VARCHAR(50) NOT NULL,
    metrics JSON,
    performance_score FLOAT,
    recorded_at DATETIME
);
CREATE INDEX ix_content_analytics_strategy ON content_analytics (strategy_id, recorded_at);
CREATE INDEX ix_content_analytics_event ON content_analytics (event_id, recorded_at);

CREATE TABLE content_recommendations (
    id INTEGER PRIMARY KEY,
    strategy_id INTEGER REFERENCES content_strategies (id),
    user_id INTEGER NOT NULL,
    recommendation_type VARCHAR(50) NOT NULL,
    title VARCHAR(255) NOT NULL,
    description TEXT,
    target_keywords JSON,
    estimated_length VARCHAR(100),
    priority VARCHAR(20),
    platforms JSON,
    estimated_performance VARCHAR(100),
    status VARCHAR(20),
    created_at DATETIME,
    updated_at DATETIME
);
CREATE INDEX ix_content_recommendations_user ON content_recommendations (user_id, updated_at DESC);
