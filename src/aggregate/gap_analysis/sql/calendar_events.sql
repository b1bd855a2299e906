-- What has the user planned or published? The newest events that are not cancelled. An event belongs to the user whom it
-- names, else to the owner of its strategy. Descriptions are cut because the column has no limit; topics show in a
-- text's beginning. $1: the user, $2: a legacy strategy's id or NULL for all.
WITH own AS (
    SELECT s.id FROM content_strategies s WHERE s.user_id = $1 AND s.id = COALESCE($2, s.id)
),
event AS (
    SELECT ce.id, ce.scheduled_date
    FROM calendar_events ce
    WHERE ce.strategy_id IN (SELECT own.id FROM own)
        AND COALESCE(NULLIF(ce.user_id, ''), $1) = $1
        AND (ce.status IS NULL OR LOWER(ce.status) <> 'cancelled')
    UNION
    SELECT ce.id, ce.scheduled_date
    FROM calendar_events ce
    WHERE ce.user_id = $1
        AND $2 IS NULL
        AND (ce.status IS NULL OR LOWER(ce.status) <> 'cancelled')
)
SELECT
    CAST(ce.title AS TEXT) AS title,
    SUBSTR(CAST(ce.description AS TEXT), 1, 4000) AS description
FROM event
JOIN calendar_events ce ON ce.id = event.id
ORDER BY event.scheduled_date DESC, event.id DESC
LIMIT 300
