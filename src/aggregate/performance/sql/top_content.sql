-- Which calendar events have the highest mean score? Ordered by the rounded mean: the order in which the database adds
-- must not show. The + keeps SQLite from the index on strategy_id.
-- $1: the user, $2: a legacy strategy's id or NULL for all, $3: start, excluded, $4: end, included.
WITH own AS (
    SELECT s.id FROM content_strategies s WHERE s.user_id = $1 AND s.id = COALESCE($2, s.id)
),
event AS (
    SELECT ce.id
    FROM calendar_events ce
    WHERE ce.strategy_id IN (SELECT own.id FROM own) AND COALESCE(NULLIF(ce.user_id, ''), $1) = $1
    UNION
    SELECT ce.id FROM calendar_events ce WHERE ce.user_id = $1 AND $2 IS NULL
)
SELECT
    CAST(ce.id AS BIGINT) AS id,
    CAST(ce.title AS TEXT) AS title,
    CAST(ce.content_type AS TEXT) AS content_type,
    CAST(ce.platform AS TEXT) AS platform,
    COUNT(*) AS n,
    AVG(ca.performance_score) AS avg_score,
    CAST(MAX(ca.recorded_at) AS TEXT) AS recorded_at
FROM event
JOIN calendar_events ce ON ce.id = event.id
JOIN content_analytics ca ON ca.event_id = ce.id
WHERE (+ca.strategy_id IS NULL OR +ca.strategy_id IN (SELECT own.id FROM own))
    AND ca.performance_score BETWEEN -1000000 AND 1000000
    AND ca.recorded_at > $3
    AND ca.recorded_at <= $4
GROUP BY ce.id, ce.title, ce.content_type, ce.platform
ORDER BY CAST(ROUND(AVG(ca.performance_score) * 1000000) AS BIGINT) DESC, COUNT(*) DESC, ce.id
LIMIT 10
