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
    -- The highest read position of a section: an invalidation of all sections above it outdates the whole row.
    read_position BIGINT NOT NULL,
    as_of DATETIME NOT NULL,
    -- Where each user has a SQLite file, the epoch also names the state of the file.
    log_epoch VARCHAR(72) NOT NULL,
    sections JSON NOT NULL,
    complete BOOLEAN NOT NULL,
    -- 0: an invalidation has dropped the document, and the row counts its accesses.
    format INTEGER NOT NULL
);
-- An index rather than a constraint, whose own would have no name on SQLite.
CREATE UNIQUE INDEX uq_cache_user_strategy_hash ON comprehensive_user_data_cache (user_id, strategy_key, data_hash);
-- For the sweep and for counting.
CREATE INDEX ix_cache_expires_at ON comprehensive_user_data_cache (expires_at);
-- For the most accessed, in statistics and warming.
CREATE INDEX ix_cache_access ON comprehensive_user_data_cache (access_count DESC, last_accessed DESC);
-- What is in clear although values are encrypted. Else it is of no use, and each row costs it an entry.
CREATE INDEX ix_cache_in_clear ON comprehensive_user_data_cache (id) WHERE format = 1;

-- Validated AI responses, by a hash of the request.
CREATE TABLE ai_response_cache (
    request_hash VARCHAR(64) PRIMARY KEY,
    -- The user whose load made the call: for erasure, not part of the key.
    user_id VARCHAR(255) NOT NULL,
    model VARCHAR(128) NOT NULL,
    prompt_version VARCHAR(32) NOT NULL,
    response JSON NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    created_at DATETIME NOT NULL,
    -- Written at most once a day.
    last_used_at DATETIME NOT NULL
);
CREATE INDEX ix_ai_response_cache_user_id ON ai_response_cache (user_id);
CREATE INDEX ix_ai_response_cache_last_used_at ON ai_response_cache (last_used_at);

-- The invalidation log's one row. Its lock orders the commits of invalidations.
CREATE TABLE invalidation_log_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Names this log. A log that lost commits gets a new epoch, and nothing cached before can be read any more.
    epoch VARCHAR(36) NOT NULL,
    position BIGINT NOT NULL,
    -- Cached documents below it are refused. It only ever rises.
    low_watermark BIGINT NOT NULL,
    -- The lease that all instances agree on.
    lease_ms INTEGER NOT NULL
);
-- A version 4 UUID; SQLite has no function for it.
INSERT INTO invalidation_log_head (id, epoch, position, low_watermark, lease_ms)
SELECT 1,
       substr(x, 1, 8) || '-' || substr(x, 9, 4) || '-4' || substr(x, 14, 3) || '-'
           || substr('89ab', 1 + (random() & 3), 1) || substr(x, 18, 3) || '-' || substr(x, 21, 12),
       0, 0, 500
FROM (SELECT lower(hex(randomblob(16))) AS x);

-- Gapless and append-only; trimmed at its old end, which raises the low watermark.
CREATE TABLE invalidation_log (
    position INTEGER PRIMARY KEY,
    -- A hash of the user's id, so that a log or its backups name no erased user. NULL: every user.
    user_hash BIGINT,
    -- NULL: all of the user's documents.
    strategy_id BIGINT,
    sections BIGINT NOT NULL CHECK (sections <> 0),
    -- Tells a log that was restored and appended to from the one that an instance has read.
    nonce BIGINT NOT NULL,
    created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
);

-- What this cluster has read of the sources' outbox.
CREATE TABLE change_feed (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- The cluster's name in the outbox: a UUID.
    cluster VARCHAR(36) NOT NULL,
    -- What may stand there as this cluster's, unless a copy of this database uses its name: UUIDs, separated by spaces.
    nonces TEXT NOT NULL,
    -- JSON as text. NULL: no outbox was ever read.
    consumed TEXT,
    -- Of `consumed`, for compare-and-set.
    version BIGINT NOT NULL
);
INSERT INTO change_feed (id, cluster, nonces, version)
SELECT 1, substr(x, 1, 8) || '-' || substr(x, 9, 4) || '-4' || substr(x, 14, 3) || '-8' || substr(x, 18, 3) || '-' || substr(x, 21, 12),
       substr(y, 1, 8) || '-' || substr(y, 9, 4) || '-4' || substr(y, 14, 3) || '-8' || substr(y, 18, 3) || '-' || substr(y, 21, 12),
       0
FROM (SELECT lower(hex(randomblob(16))) AS x, lower(hex(randomblob(16))) AS y);

-- Which instance loads which key. No clock: a holder is alive while its heartbeat moves.
CREATE TABLE load_lease (
    key VARCHAR(512) PRIMARY KEY,
    holder VARCHAR(36) NOT NULL,
    -- The process that holds it: where it runs, and a random number.
    instance VARCHAR(64) NOT NULL DEFAULT '',
    read_position BIGINT NOT NULL,
    heartbeat BIGINT NOT NULL,
    -- JSON as text: how a load without a snapshot ended.
    outcome TEXT
);
