-- The log's head, the nonce of the row at position $1, and the newest round of the change feed: in one snapshot.
SELECT head.epoch, head.position, head.low_watermark, head.lease_ms, entry.nonce,
       feed.consumed IS NOT NULL AS is_registered,
       newest.round, newest.holder, newest.completed, newest.birth, newest.unwatched
FROM invalidation_log_head AS head
LEFT JOIN invalidation_log AS entry ON entry.position = $1
LEFT JOIN change_feed AS feed ON feed.id = 1
LEFT JOIN LATERAL (SELECT * FROM change_feed_round ORDER BY round DESC LIMIT 1) AS newest ON TRUE
WHERE head.id = 1
