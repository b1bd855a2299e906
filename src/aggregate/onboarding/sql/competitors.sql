-- Who are the competitors? $1: the session, $2: bytes of a JSON column at most.
SELECT
    CAST(c.competitor_url AS TEXT) AS competitor_url,
    CAST(c.competitor_domain AS TEXT) AS competitor_domain,
    CAST(c.analysis_date AS TEXT) AS analysis_date,
    CAST(c.updated_at AS TEXT) AS updated_at,
    CASE WHEN octet_length(CAST(c.analysis_data AS TEXT)) > $2 THEN '#' ELSE CAST(c.analysis_data AS TEXT) END AS analysis_data
FROM competitor_analyses c
WHERE c.session_id = $1
ORDER BY c.updated_at DESC NULLS LAST, c.id DESC
LIMIT 50
