-- Says how far a cluster has come. $1: its id, $2: the new nonce, $3: its snapshot, $4 and $5: the end of its log, $6: the
-- nonces that its row may have. No row is written if another cluster has this id.
INSERT INTO invalidation_outbox_consumer (cluster, nonce, snapshot, epoch, position, seen_at)
VALUES (
    CAST(CAST($1 AS TEXT) AS UUID), CAST(CAST($2 AS TEXT) AS UUID), CAST(CAST($3 AS TEXT) AS PG_SNAPSHOT), $4, $5,
    now() AT TIME ZONE 'utc'
)
ON CONFLICT (cluster) DO UPDATE
SET nonce = excluded.nonce, snapshot = excluded.snapshot, epoch = excluded.epoch, position = excluded.position,
    seen_at = excluded.seen_at
WHERE invalidation_outbox_consumer.nonce = ANY(CAST(CAST($6 AS TEXT) AS UUID[]))
