-- Validated answers of the model, by a hash of what was asked.
CREATE TABLE ai_analysis_memo (
    memo_key VARCHAR(64) PRIMARY KEY,
    -- Who caused the call: for erasure, not part of the key.
    user_id VARCHAR(255) NOT NULL,
    model VARCHAR(128) NOT NULL,
    prompt_version VARCHAR(32) NOT NULL,
    answer JSON NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    created_at DATETIME NOT NULL,
    -- Written at most once a day.
    last_used_at DATETIME NOT NULL
);
CREATE INDEX ix_memo_user_id ON ai_analysis_memo (user_id);
CREATE INDEX ix_memo_last_used_at ON ai_analysis_memo (last_used_at);
