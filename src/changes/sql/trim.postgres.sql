-- Deletes at most $1 notes that may be deleted.
DELETE FROM invalidation_outbox
WHERE ctid = ANY(ARRAY(
    SELECT n.ctid FROM invalidation_outbox n
    WHERE n.xid < (SELECT s.trimmed_below FROM invalidation_outbox_state s)
    LIMIT $1
))
