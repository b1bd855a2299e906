-- Which onboarding session of the user counts? The newest. $1: the user.
SELECT CAST(s.id AS BIGINT) AS id
FROM onboarding_sessions s
WHERE s.user_id = $1
ORDER BY s.updated_at DESC NULLS LAST, s.id DESC
LIMIT 1
