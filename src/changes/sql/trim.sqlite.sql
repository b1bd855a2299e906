-- Deletes at most $1 notes that may be deleted. The last one that was read stays: its nonce tells this file from an older
-- copy.
DELETE FROM invalidation_outbox
WHERE id IN (
    SELECT n.id FROM invalidation_outbox n
    WHERE n.id < (SELECT s.trimmed_below FROM invalidation_outbox_state s)
    LIMIT $1
)
