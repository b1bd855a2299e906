-- The log's head, the nonce of the row at position ?1, and whether an outbox was ever read.
SELECT head.epoch, head.position, head.low_watermark, head.lease_ms, entry.nonce,
       feed.consumed IS NOT NULL AS is_registered,
       NULL AS round, NULL AS holder, NULL AS completed, NULL AS birth, NULL AS unwatched
FROM invalidation_log_head AS head
LEFT JOIN invalidation_log AS entry ON entry.position = ?1
LEFT JOIN change_feed AS feed ON feed.id = 1
WHERE head.id = 1
