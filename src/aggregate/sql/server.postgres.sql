-- Which server is this, and up to where has it replayed its primary's write-ahead log? A primary replays nothing.
SELECT pg_is_in_recovery() AS is_replica, s.system_identifier AS cluster,
    CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) AS started,
    GREATEST(c.timeline_id, r.min_recovery_end_timeline) AS timeline,
    CAST(pg_last_wal_replay_lsn() - '0/0' AS BIGINT) AS replayed
FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r
