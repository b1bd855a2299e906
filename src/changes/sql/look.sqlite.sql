-- What is new in the outbox, and has anything been created, altered or dropped in the file? One row for each distinct
-- note, at least one row. $1: the highest id that was consumed, $2: notes to look at, $3: distinct notes to return.
WITH
noted AS (SELECT n.* FROM invalidation_outbox n WHERE n.id > $1 ORDER BY n.id LIMIT $2),
grouped AS (
    SELECT n.source, n.user_id, n.session_id, n.task_id, n.strategy_id, n.event_id, n.row_id,
        max(n.sections & 1) | max(n.sections & 2) | max(n.sections & 4) | max(n.sections & 8) | max(n.sections & 16)
            | max(n.sections & 32) | max(n.sections & 64) | max(n.sections & ~127) AS sections,
        min(n.only_updated_at) AS only_updated_at, count(*) AS rows, min(n.created_at) AS created_at
    FROM noted n
    GROUP BY n.source, n.user_id, n.session_id, n.task_id, n.strategy_id, n.event_id, n.row_id
    LIMIT $3
)
SELECT
    (SELECT v.schema_version FROM pragma_schema_version v) AS schema_version,
    (SELECT max(n.id) FROM invalidation_outbox n) AS highest,
    (SELECT n.nonce FROM invalidation_outbox n ORDER BY n.id DESC LIMIT 1) AS highest_nonce,
    (SELECT n.nonce FROM invalidation_outbox n WHERE n.id = $1) AS consumed_nonce,
    (SELECT s.trimmed_below FROM invalidation_outbox_state s) AS trimmed_below,
    g.source, g.user_id, g.session_id, g.task_id, g.strategy_id, g.event_id, g.row_id, g.sections, g.only_updated_at,
    g.rows, CAST((julianday('now') - julianday(g.created_at)) * 86400000000.0 AS INTEGER) AS age
FROM (SELECT 1) one LEFT JOIN grouped g ON TRUE
