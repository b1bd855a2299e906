-- Which legacy strategy of the user is the newest? The one with the highest id.
-- $1: the user, $2: bytes of a JSON column at most.
SELECT
    CAST(s.id AS BIGINT) AS id,
    CAST(s.name AS TEXT) AS name,
    CAST(s.industry AS TEXT) AS industry,
    CASE WHEN octet_length(CAST(s.target_audience AS TEXT)) > $2 THEN '#' ELSE CAST(s.target_audience AS TEXT) END AS target_audience,
    CASE WHEN octet_length(CAST(s.content_pillars AS TEXT)) > $2 THEN '#' ELSE CAST(s.content_pillars AS TEXT) END AS content_pillars,
    CASE WHEN octet_length(CAST(s.ai_recommendations AS TEXT)) > $2 THEN '#' ELSE CAST(s.ai_recommendations AS TEXT) END AS ai_recommendations,
    CAST(s.created_at AS TEXT) AS created_at,
    CAST(s.updated_at AS TEXT) AS updated_at
FROM content_strategies s
WHERE s.user_id = $1
ORDER BY s.id DESC
LIMIT 1
