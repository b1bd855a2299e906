-- What does the analysis of the user's site say? A completed analysis comes before any other, then the newest.
-- $1: the session, $2: bytes of a JSON column at most; '#' is no JSON and reads as malformed.
SELECT
    CAST(w.website_url AS TEXT) AS website_url,
    CASE WHEN octet_length(CAST(w.writing_style AS TEXT)) > $2 THEN '#' ELSE CAST(w.writing_style AS TEXT) END AS writing_style,
    CASE WHEN octet_length(CAST(w.target_audience AS TEXT)) > $2 THEN '#' ELSE CAST(w.target_audience AS TEXT) END AS target_audience,
    CASE WHEN octet_length(CAST(w.content_type AS TEXT)) > $2 THEN '#' ELSE CAST(w.content_type AS TEXT) END AS content_type,
    CASE WHEN octet_length(CAST(w.brand_analysis AS TEXT)) > $2 THEN '#' ELSE CAST(w.brand_analysis AS TEXT) END AS brand_analysis,
    CASE WHEN octet_length(CAST(w.content_strategy_insights AS TEXT)) > $2 THEN '#' ELSE CAST(w.content_strategy_insights AS TEXT) END AS content_strategy_insights,
    CASE WHEN octet_length(CAST(w.style_guidelines AS TEXT)) > $2 THEN '#' ELSE CAST(w.style_guidelines AS TEXT) END AS style_guidelines,
    CASE WHEN octet_length(CAST(w.seo_audit AS TEXT)) > $2 THEN '#' ELSE CAST(w.seo_audit AS TEXT) END AS seo_audit,
    CASE WHEN octet_length(CAST(w.strategic_insights_history AS TEXT)) > $2 THEN '#' ELSE CAST(w.strategic_insights_history AS TEXT) END AS strategic_insights_history
FROM website_analyses w
WHERE w.session_id = $1
ORDER BY CASE WHEN w.status = 'completed' THEN 0 ELSE 1 END, w.updated_at DESC NULLS LAST, w.id DESC
LIMIT 1
