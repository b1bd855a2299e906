-- Sealed documents: the plan's nine columns, then ours. Times are UTC as text with six decimals.
CREATE TABLE comprehensive_user_data_cache (
    id INTEGER PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    strategy_id BIGINT,
    data_hash VARCHAR(64) NOT NULL,
    comprehensive_data JSON NOT NULL,
    created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    expires_at DATETIME NOT NULL,
    last_accessed DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    access_count BIGINT NOT NULL DEFAULT 0,
    -- strategy_id, or 0 for none: NULLs would be distinct in the unique key.
    strategy_key BIGINT NOT NULL,
    -- The highest section tag: below a fence on all sections the row is useless.
    s BIGINT NOT NULL,
    as_of DATETIME NOT NULL,
    incarnation VARCHAR(36) NOT NULL,
    sections JSON NOT NULL,
    complete BOOLEAN NOT NULL,
    format INTEGER NOT NULL
);
-- An index rather than a constraint, whose own would have no name on SQLite.
CREATE UNIQUE INDEX uq_cache_user_strategy_hash ON comprehensive_user_data_cache (user_id, strategy_key, data_hash);
-- For the sweep and for counting.
CREATE INDEX ix_cache_expires_at ON comprehensive_user_data_cache (expires_at);
-- For the most accessed, in statistics and warming.
CREATE INDEX ix_cache_access ON comprehensive_user_data_cache (access_count DESC, last_accessed DESC);
