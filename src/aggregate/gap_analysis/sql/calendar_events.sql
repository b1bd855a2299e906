-- What has the user planned or published? The newest events that are not cancelled. Descriptions are cut because the
-- column has no limit; topics show in a text's beginning.
-- $1: the user's number, $2: a legacy strategy's id or NULL for all.
WITH own AS (
    SELECT s.id FROM content_strategies s WHERE s.user_id = $1 AND s.id = COALESCE($2, s.id)
)
SELECT
    CAST(ce.title AS TEXT) AS title,
    SUBSTR(CAST(ce.description AS TEXT), 1, 4000) AS description
FROM calendar_events ce
WHERE ce.strategy_id IN (SELECT own.id FROM own) AND (ce.status IS NULL OR LOWER(ce.status) <> 'cancelled')
ORDER BY ce.scheduled_date DESC, ce.id DESC
LIMIT 300
