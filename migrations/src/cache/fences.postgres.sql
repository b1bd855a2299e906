-- The fence protocol's one row. Its lock orders the commits of fences, which a sequence would not.
CREATE TABLE fence_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Names this log. When the log loses commits a new one begins, and nothing cached is readable any more.
    incarnation VARCHAR(36) NOT NULL,
    seq BIGINT NOT NULL,
    -- Everything tagged below it is refused. It only ever rises.
    floor BIGINT NOT NULL,
    -- The lease all instances agree on.
    lease_ms INTEGER NOT NULL
);
INSERT INTO fence_head (id, incarnation, seq, floor, lease_ms) VALUES (1, CAST(gen_random_uuid() AS TEXT), 0, 0, 500);

-- Gapless and append-only; trimmed at its old end, which raises the floor.
CREATE TABLE fence_log (
    seq BIGINT PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    strategy_id BIGINT,
    sections BIGINT NOT NULL CHECK (sections <> 0),
    -- Tells a log that was restored and written on from the one that an instance has seen.
    nonce BIGINT NOT NULL,
    at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

-- Who is loading what. No clock: a holder is alive while its beat moves. Unlogged: a lease lost in a crash is a lease
-- given back, and nobody waits for the disk to have one.
CREATE UNLOGGED TABLE load_lease (
    key VARCHAR(512) PRIMARY KEY,
    holder VARCHAR(36) NOT NULL,
    s BIGINT NOT NULL,
    beat BIGINT NOT NULL,
    -- JSON as text: how a load without a snapshot ended.
    outcome TEXT
);
