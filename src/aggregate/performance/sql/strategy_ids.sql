-- Which legacy strategies does the user have? $1: the user.
SELECT CAST(s.id AS BIGINT) AS id
FROM content_strategies s
WHERE s.user_id = $1
ORDER BY s.id
LIMIT 100
