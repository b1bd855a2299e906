-- Says how far a cluster has come. $1: its id, $2: the new nonce, $3: its highest note, $4 and $5: the end of its log, $6:
-- the nonces that its row may have. No row is written if another cluster has this id.
INSERT INTO invalidation_outbox_consumer (cluster, nonce, highest, epoch, position, seen_at)
VALUES ($1, $2, $3, $4, $5, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
ON CONFLICT (cluster) DO UPDATE
SET nonce = excluded.nonce, highest = excluded.highest, epoch = excluded.epoch, position = excluded.position,
    seen_at = excluded.seen_at
WHERE invalidation_outbox_consumer.nonce IN (SELECT k.value FROM json_each($6) k)
