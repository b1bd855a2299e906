-- Notes of changes of the sources, written by triggers in the writer's own transaction.
CREATE TABLE invalidation_outbox (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    xid XID8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at TIMESTAMP NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'utc'),
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
CREATE INDEX invalidation_outbox_xid ON invalidation_outbox (xid);

-- The clusters that read the notes, and how far each has come.
CREATE TABLE invalidation_outbox_consumer (
    cluster UUID PRIMARY KEY,
    nonce UUID NOT NULL,
    snapshot PG_SNAPSHOT NOT NULL,
    epoch TEXT NOT NULL,
    position BIGINT NOT NULL,
    seen_at TIMESTAMP NOT NULL
);

-- Notes of transactions below trimmed_below may be gone. From next_since on, all consumers had read those below next_below.
CREATE TABLE invalidation_outbox_state (
    single BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (single),
    trimmed_below XID8 NOT NULL DEFAULT '0',
    next_below XID8,
    next_since TIMESTAMP
);
INSERT INTO invalidation_outbox_state DEFAULT VALUES;
