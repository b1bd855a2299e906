-- Which stored recommendations are open? Those of one legacy strategy include those of none.
-- $1: the user, $2: a legacy strategy's id or NULL for all, $3: bytes of a JSON column at most.
SELECT
    CAST(r.id AS BIGINT) AS id,
    CAST(r.strategy_id AS BIGINT) AS strategy_id,
    CAST(r.recommendation_type AS TEXT) AS recommendation_type,
    CAST(r.title AS TEXT) AS title,
    CAST(r.description AS TEXT) AS description,
    CAST(r.estimated_length AS TEXT) AS estimated_length,
    CAST(r.priority AS TEXT) AS priority,
    CAST(r.estimated_performance AS TEXT) AS estimated_performance,
    CAST(r.status AS TEXT) AS status,
    CAST(r.created_at AS TEXT) AS created_at,
    CAST(r.updated_at AS TEXT) AS updated_at,
    CASE WHEN octet_length(CAST(r.target_keywords AS TEXT)) > $3 THEN '#' ELSE CAST(r.target_keywords AS TEXT) END AS target_keywords,
    CASE WHEN octet_length(CAST(r.platforms AS TEXT)) > $3 THEN '#' ELSE CAST(r.platforms AS TEXT) END AS platforms
FROM content_recommendations r
WHERE r.user_id = $1
    AND LOWER(COALESCE(r.status, 'pending')) <> 'rejected'
    AND COALESCE(r.strategy_id = $2, TRUE)
ORDER BY
    CASE LOWER(COALESCE(r.priority, 'medium')) WHEN 'high' THEN 0 WHEN 'medium' THEN 1 WHEN 'low' THEN 2 ELSE 3 END,
    r.updated_at DESC NULLS LAST,
    r.id DESC
LIMIT 50
