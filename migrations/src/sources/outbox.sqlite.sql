-- Notes of changes of the sources, written by triggers in the writer's own transaction.
CREATE TABLE invalidation_outbox (
    -- AUTOINCREMENT: an id is never used again, so that ids are in the order of commits.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Tells this note from another one that has its id after an older copy of the file was put back.
    nonce TEXT NOT NULL DEFAULT (lower(hex(randomblob(8)))),
    created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    -- The table that changed. Empty: the user is named directly.
    source TEXT NOT NULL DEFAULT '',
    -- The ids that the changed row has, by the names of its columns; row_id is its own. None at all: every row.
    user_id TEXT,
    session_id TEXT,
    task_id TEXT,
    strategy_id TEXT,
    event_id TEXT,
    row_id TEXT,
    sections BIGINT NOT NULL CHECK (sections <> 0),
    only_updated_at BOOLEAN NOT NULL DEFAULT FALSE
);

-- The clusters that read the notes, and how far each has come.
CREATE TABLE invalidation_outbox_consumer (
    cluster TEXT PRIMARY KEY,
    nonce TEXT NOT NULL,
    highest INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    position BIGINT NOT NULL,
    seen_at DATETIME NOT NULL
);

-- Notes below trimmed_below may be gone. From next_since on, all consumers had read those below next_below.
CREATE TABLE invalidation_outbox_state (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    trimmed_below INTEGER NOT NULL DEFAULT 0,
    next_below INTEGER,
    next_since DATETIME
);
INSERT INTO invalidation_outbox_state (single) VALUES (1);
