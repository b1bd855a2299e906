-- Which triggers do the tables and their partitions have? A row for each trigger of ours, at least one for each relation.
-- $1: names of the tables, $2: the search path that their functions have.
WITH RECURSIVE relation(name, oid, is_root) AS (
    SELECT t.name, CAST(to_regclass(t.name) AS OID), TRUE FROM unnest(string_to_array(CAST($1 AS TEXT), ',')) t(name)
    UNION ALL
    SELECT r.name, i.inhrelid, FALSE FROM relation r JOIN pg_inherits i ON i.inhparent = r.oid
)
SELECT r.name, CAST(c.oid AS BIGINT) AS relation, CAST(c.relkind AS TEXT) AS kind, c.relispartition AS is_partition, r.is_root,
    EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid) AS is_subscribed,
    CAST(t.tgname AS TEXT) AS trigger_name, CAST(t.tgenabled AS TEXT) AS enabled, t.tgtype & 1 = 1 AS for_rows, p.prosrc AS body,
    p.prosecdef AND p.proconfig = ARRAY[CAST($2 AS TEXT)] AS as_owner
FROM relation r JOIN pg_class c ON c.oid = r.oid
LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgname LIKE 'userdata\_%'
LEFT JOIN pg_proc p ON p.oid = t.tgfoid
