-- The keys by which stored values are encrypted: one per user.
CREATE TABLE user_key (
    -- SHA-256 of the user's id.
    user_digest VARCHAR(64) PRIMARY KEY,
    -- Names the key in the values that it encrypts.
    key_id VARCHAR(32) NOT NULL,
    -- The name of the master key that wraps it.
    master_key VARCHAR(64) NOT NULL,
    -- The key, encrypted by the master key, in base64.
    wrapped VARCHAR(255) NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
-- For the rotation of the master key.
CREATE INDEX ix_user_key_master_key ON user_key (master_key, user_digest);
