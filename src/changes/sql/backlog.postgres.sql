-- How many notes are not in a snapshot? $1: its xmax, $2: its running transactions, $3: the snapshot.
SELECT count(*) AS rows FROM invalidation_outbox n
WHERE (n.xid >= CAST(CAST($1 AS TEXT) AS XID8) OR n.xid = ANY(CAST(CAST($2 AS TEXT) AS XID8[])))
    AND NOT pg_visible_in_snapshot(n.xid, CAST(CAST($3 AS TEXT) AS PG_SNAPSHOT))
