-- The round after $5, if that one is of this holder and birth, and the newest.
INSERT INTO change_feed_round (round, holder, completed, birth, unwatched)
SELECT $1, $2, $3, newest.birth, $4
FROM (SELECT round, holder, birth FROM change_feed_round ORDER BY round DESC LIMIT 1) AS newest
WHERE newest.round = $5 AND newest.holder = $6 AND newest.birth = $7
ON CONFLICT DO NOTHING
