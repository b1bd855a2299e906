-- Which server is it, and which transactions are visible?
SELECT
    CAST(pg_current_snapshot() AS TEXT) AS snapshot,
    concat_ws('.', (SELECT s.system_identifier FROM pg_control_system() s),
        (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) AS server,
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline,
    CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) AS started,
    CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now,
    '0' AS trimmed_below,
    '{}' AS prints
