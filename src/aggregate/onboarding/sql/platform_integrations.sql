-- Which platforms has the user connected? $1: the session, $2: bytes of a JSON column at most.
SELECT
    CASE WHEN octet_length(CAST(i.connected_platforms AS TEXT)) > $2 THEN '#' ELSE CAST(i.connected_platforms AS TEXT) END AS connected_platforms,
    CASE WHEN octet_length(CAST(i.social_platforms AS TEXT)) > $2 THEN '#' ELSE CAST(i.social_platforms AS TEXT) END AS social_platforms,
    CASE WHEN octet_length(CAST(i.analytics_platforms AS TEXT)) > $2 THEN '#' ELSE CAST(i.analytics_platforms AS TEXT) END AS analytics_platforms,
    CASE WHEN octet_length(CAST(i.website_platforms AS TEXT)) > $2 THEN '#' ELSE CAST(i.website_platforms AS TEXT) END AS website_platforms
FROM platform_integrations i
WHERE i.session_id = $1
ORDER BY i.updated_at DESC NULLS LAST, i.id DESC
LIMIT 1
