-- How many notes wait for a cluster, and since when? Without clusters, for one that may come.
SELECT count(*) AS rows,
    CAST(EXTRACT(EPOCH FROM (clock_timestamp() AT TIME ZONE 'utc') - min(n.created_at)) * 1000000 AS BIGINT) AS age
FROM invalidation_outbox n
WHERE NOT EXISTS (SELECT FROM invalidation_outbox_consumer)
    OR EXISTS (SELECT FROM invalidation_outbox_consumer c WHERE NOT pg_visible_in_snapshot(n.xid, c.snapshot))
