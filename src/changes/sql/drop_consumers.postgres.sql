-- Forgets clusters that were not seen for $1 seconds.
DELETE FROM invalidation_outbox_consumer
WHERE seen_at < (now() AT TIME ZONE 'utc') - CAST($1 AS BIGINT) * INTERVAL '1 second'
