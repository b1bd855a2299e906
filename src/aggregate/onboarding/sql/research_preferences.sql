-- How is research to be done? $1: the session, $2: bytes of a JSON column at most.
SELECT
    CAST(r.research_depth AS TEXT) AS research_depth,
    CAST(r.auto_research AS TEXT) AS auto_research,
    CAST(r.factual_content AS TEXT) AS factual_content,
    CASE WHEN octet_length(CAST(r.content_types AS TEXT)) > $2 THEN '#' ELSE CAST(r.content_types AS TEXT) END AS content_types,
    CASE WHEN octet_length(CAST(r.writing_style AS TEXT)) > $2 THEN '#' ELSE CAST(r.writing_style AS TEXT) END AS writing_style,
    CASE WHEN octet_length(CAST(r.target_audience AS TEXT)) > $2 THEN '#' ELSE CAST(r.target_audience AS TEXT) END AS target_audience
FROM research_preferences r
WHERE r.session_id = $1
ORDER BY r.updated_at DESC NULLS LAST, r.id DESC
LIMIT 1
