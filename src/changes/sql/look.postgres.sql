-- What is new in the outbox, on which server, and is what the notes rest on as it was? One row for each distinct note, at
-- least one row. $1: xmax of the consumed snapshot, $2: the transactions that ran in it, $3: the snapshot, $4: notes to
-- look at, $5: distinct notes to return, $6: names of the tables.
WITH RECURSIVE
noted AS (
    SELECT n.* FROM invalidation_outbox n
    WHERE (n.xid >= CAST(CAST($1 AS TEXT) AS XID8) OR n.xid = ANY(CAST(CAST($2 AS TEXT) AS XID8[])))
        AND NOT pg_visible_in_snapshot(n.xid, CAST(CAST($3 AS TEXT) AS PG_SNAPSHOT))
    LIMIT $4
),
grouped AS (
    SELECT n.source, n.user_id, n.session_id, n.task_id, n.strategy_id, n.event_id, n.row_id,
        bit_or(n.sections) AS sections, bool_and(n.only_updated_at) AS only_updated_at, count(*) AS rows,
        min(n.created_at) AS created_at
    FROM noted n
    GROUP BY n.source, n.user_id, n.session_id, n.task_id, n.strategy_id, n.event_id, n.row_id
    LIMIT $5
),
relation(name, oid) AS (
    SELECT t.name, CAST(to_regclass(t.name) AS OID) FROM unnest(string_to_array(CAST($6 AS TEXT), ',')) t(name)
    UNION ALL
    SELECT r.name, i.inhrelid FROM relation r JOIN pg_inherits i ON i.inhparent = r.oid
),
print AS (
    SELECT r.name, md5(string_agg(concat_ws('.', c.oid, c.relfilenode, c.relkind,
        (SELECT string_agg(concat_ws('.', t.oid, t.xmin, t.tgenabled, p.xmin), ',' ORDER BY t.oid)
            FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
            WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgname LIKE 'userdata\_%'),
        (SELECT concat(count(*), '.', sum(a.attnum * CAST(CAST(a.xmin AS TEXT) AS BIGINT)))
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
        (SELECT count(*) FROM pg_subscription_rel s WHERE s.srrelid = c.oid)
    ), ';' ORDER BY c.oid)) AS print
    FROM relation r LEFT JOIN pg_class c ON c.oid = r.oid
    GROUP BY r.name
)
SELECT
    CAST(pg_current_snapshot() AS TEXT) AS snapshot,
    concat_ws('.', (SELECT s.system_identifier FROM pg_control_system() s),
        (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) AS server,
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline,
    CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) AS started,
    CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now,
    (SELECT CAST(s.trimmed_below AS TEXT) FROM invalidation_outbox_state s) AS trimmed_below,
    (SELECT CAST(json_object_agg(p.name, p.print) AS TEXT) FROM print p) AS prints,
    g.source, g.user_id, g.session_id, g.task_id, g.strategy_id, g.event_id, g.row_id, g.sections, g.only_updated_at,
    g.rows, CAST(EXTRACT(EPOCH FROM (clock_timestamp() AT TIME ZONE 'utc') - g.created_at) * 1000000 AS BIGINT) AS age
FROM (VALUES (1)) one(row) LEFT JOIN grouped g ON TRUE
