-- Changes of the sources on their way to the fence log, written in the writer's own transaction.
CREATE TABLE invalidation_outbox (
    -- AUTOINCREMENT: a reused id could let a relay delete a row that it has never fenced.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id VARCHAR(255) NOT NULL,
    strategy_id BIGINT,
    sections BIGINT NOT NULL CHECK (sections <> 0),
    at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
);
