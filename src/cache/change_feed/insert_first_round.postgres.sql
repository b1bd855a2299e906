-- The first round of an empty table.
INSERT INTO change_feed_round (round, holder, completed, birth, unwatched)
SELECT $1, $2, 0, $3, 0
WHERE NOT EXISTS (SELECT FROM change_feed_round)
ON CONFLICT DO NOTHING
