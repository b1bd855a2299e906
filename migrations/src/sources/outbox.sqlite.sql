-- Changes of the sources on their way to the invalidation log, written in the writer's own transaction.
CREATE TABLE invalidation_outbox (
    -- AUTOINCREMENT: with a reused id, a relay could delete a row that it has not relayed.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id VARCHAR(255) NOT NULL,
    strategy_id BIGINT,
    sections BIGINT NOT NULL CHECK (sections <> 0),
    created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
);
