-- Which notes may be deleted? Those that all consumers had read $1 seconds ago.
UPDATE invalidation_outbox_state s
SET trimmed_below = GREATEST(s.trimmed_below, s.next_below), next_below = c.below, next_since = now() AT TIME ZONE 'utc'
FROM (SELECT (SELECT pg_snapshot_xmin(o.snapshot) FROM invalidation_outbox_consumer o ORDER BY 1 LIMIT 1) AS below) c
WHERE s.next_since IS NULL OR s.next_since <= (now() AT TIME ZONE 'utc') - CAST($1 AS BIGINT) * INTERVAL '1 second'
