-- How many notes wait for a cluster, and since when? Without clusters, for one that may come.
SELECT count(*) AS rows, CAST((julianday('now') - julianday(min(n.created_at))) * 86400000000.0 AS INTEGER) AS age
FROM invalidation_outbox n
WHERE n.id > COALESCE((SELECT min(c.highest) FROM invalidation_outbox_consumer c), 0)
