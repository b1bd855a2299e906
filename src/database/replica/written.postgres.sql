-- Which primary is this, and up to where has it written its write-ahead log?
SELECT s.system_identifier AS cluster,
    CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) AS started,
    CAST(CAST(CONCAT('x', substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)) AS BIT(32)) AS INTEGER) AS timeline,
    CAST(pg_current_wal_insert_lsn() - '0/0' AS BIGINT) AS written,
    CAST(current_setting('wal_block_size') AS BIGINT) AS block,
    pg_size_bytes(current_setting('wal_segment_size')) AS segment
FROM pg_control_system() s
