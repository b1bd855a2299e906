-- Forgets clusters that were not seen for $1 seconds.
DELETE FROM invalidation_outbox_consumer
WHERE julianday(seen_at) < julianday('now') - $1 / 86400.0
