-- Which onboarding session of the user counts? The newest. $1: the user, $2: bytes of a JSON column at most.
SELECT
    CAST(s.id AS BIGINT) AS id,
    CASE WHEN octet_length(CAST(s.payload AS TEXT)) > $2 THEN '#' ELSE CAST(s.payload AS TEXT) END AS payload
FROM onboarding_sessions s
WHERE s.user_id = $1
ORDER BY s.updated_at DESC NULLS LAST, s.id DESC
LIMIT 1
