-- Is there a deep analysis of competitors? That of the site comes before any other.
-- $1: the user, $2: the site's address or NULL, $3: bytes of a JSON column at most.
SELECT
    CAST(t.id AS BIGINT) AS id,
    CAST(t.status AS TEXT) AS status,
    CAST(t.next_execution AS TEXT) AS next_execution,
    CASE WHEN octet_length(CAST(t.payload AS TEXT)) > $3 THEN '#' ELSE CAST(t.payload AS TEXT) END AS payload
FROM deep_competitor_analysis_tasks t
WHERE t.user_id = $1
ORDER BY CASE WHEN t.website_url = $2 THEN 0 ELSE 1 END, t.updated_at DESC NULLS LAST, t.id DESC
LIMIT 1
