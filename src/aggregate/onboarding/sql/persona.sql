-- In whose voice does the user write? $1: the session, $2: bytes of a JSON column at most.
SELECT
    CASE WHEN octet_length(CAST(p.core_persona AS TEXT)) > $2 THEN '#' ELSE CAST(p.core_persona AS TEXT) END AS core_persona,
    CASE WHEN octet_length(CAST(p.platform_personas AS TEXT)) > $2 THEN '#' ELSE CAST(p.platform_personas AS TEXT) END AS platform_personas,
    CASE WHEN octet_length(CAST(p.selected_platforms AS TEXT)) > $2 THEN '#' ELSE CAST(p.selected_platforms AS TEXT) END AS selected_platforms
FROM persona_data p
WHERE p.session_id = $1
ORDER BY p.updated_at DESC NULLS LAST, p.id DESC
LIMIT 1
