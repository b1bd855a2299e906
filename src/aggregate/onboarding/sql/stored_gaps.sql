-- What did the stored gap analysis find? That of the site comes before any other.
-- $1: the user, $2: the site's address or NULL, $3: bytes of a JSON column at most.
SELECT
    CASE WHEN octet_length(CAST(g.target_keywords AS TEXT)) > $3 THEN '#' ELSE CAST(g.target_keywords AS TEXT) END AS target_keywords,
    CASE WHEN octet_length(CAST(g.analysis_results AS TEXT)) > $3 THEN '#' ELSE CAST(g.analysis_results AS TEXT) END AS analysis_results,
    CASE WHEN octet_length(CAST(g.recommendations AS TEXT)) > $3 THEN '#' ELSE CAST(g.recommendations AS TEXT) END AS recommendations,
    CASE WHEN octet_length(CAST(g.opportunities AS TEXT)) > $3 THEN '#' ELSE CAST(g.opportunities AS TEXT) END AS opportunities
FROM content_gap_analyses g
WHERE g.user_id = $1
ORDER BY CASE WHEN g.website_url = $2 THEN 0 ELSE 1 END, g.updated_at DESC NULLS LAST, g.id DESC
LIMIT 1
