-- Which server is this, is it a replica, and up to where has it replayed its primary's write-ahead log? A replica tells
-- another timeline at its next restart point, or at once to a role that may read all statistics.
SELECT pg_is_in_recovery() AS is_replica, s.system_identifier AS cluster,
    CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) AS started,
    GREATEST(c.timeline_id, r.min_recovery_end_timeline, (SELECT w.received_tli FROM pg_stat_wal_receiver w))
        AS timeline,
    CAST(pg_last_wal_replay_lsn() - '0/0' AS BIGINT) AS replayed
FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r
