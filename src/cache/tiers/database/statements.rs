//! The statements that a query builder would obscure. Each is written once. The two databases differ in their clocks, in
//! binding and unfolding JSON, and in skipping locked rows.
//!
//! All times come from the database's clock, so that all instances agree on which rows have expired.

/// One database's statements. Placeholders are `$n`; SQLite takes them too.
#[derive(Debug)]
pub(super) struct Statements {
    /// user, strategy key, hash -> document, sections, epoch, as_of, format, microseconds left.
    pub(super) read: &'static str,
    /// last invalidation ($4), user, strategy key, hash ($7 to $9): whether there is a valid row.
    pub(super) is_stored: &'static str,
    /// user, strategy, hash, document, TTL in microseconds, strategy key, read position, as_of, epoch, sections, complete,
    /// format, last invalidation.
    pub(super) upsert: &'static str,
    /// seconds, rows at most: deletes expired rows created longer ago than that.
    pub(super) sweep: &'static str,
    /// rows at most: deletes expired rows.
    pub(super) cleanup: &'static str,
    /// -> rows, expired rows.
    pub(super) counts: &'static str,
    /// a JSON array of [`AccessedRow`](super::AccessedRow): adds them to their rows.
    pub(super) accesses: &'static str,
    /// user: deletes the AI responses that the user caused.
    pub(super) purge_memos: &'static str,
}

macro_rules! statements {
    (
        now: $now:literal, after: $after:literal, ago: $ago:literal, micros_left: $micros_left:literal,
        json: $json_open:literal $json_close:literal, skip_locked: $skip_locked:literal,
        later: $later:literal, accesses: $accesses:literal
    ) => {
        Statements {
            read: concat!(
                "SELECT CAST(comprehensive_data AS TEXT) AS document, CAST(sections AS TEXT) AS sections, ",
                "log_epoch, as_of, format, ",
                $micros_left,
                " AS micros_left ",
                "FROM comprehensive_user_data_cache WHERE user_id = $1 AND strategy_key = $2 AND data_hash = $3",
            ),
            is_stored: concat!(
                "EXISTS (SELECT 1 FROM comprehensive_user_data_cache WHERE user_id = $7 AND strategy_key = $8 ",
                "AND data_hash = $9 AND read_position >= $4 AND expires_at > ",
                $now,
                ")",
            ),
            // An older assembly never replaces a newer one, nor a partial one a complete one that is of use.
            upsert: concat!(
                "INSERT INTO comprehensive_user_data_cache AS cache (user_id, strategy_id, data_hash, ",
                "comprehensive_data, created_at, expires_at, last_accessed, access_count, strategy_key, read_position, as_of, ",
                "log_epoch, sections, complete, format) VALUES ($1, $2, $3, ",
                $json_open,
                "$4",
                $json_close,
                ", ",
                $now,
                ", ",
                $after,
                ", ",
                $now,
                ", 0, $6, $7, $8, $9, ",
                $json_open,
                "$10",
                $json_close,
                ", $11, $12) ",
                "ON CONFLICT (user_id, strategy_key, data_hash) DO UPDATE SET strategy_id = excluded.strategy_id, ",
                "comprehensive_data = excluded.comprehensive_data, created_at = excluded.created_at, ",
                "expires_at = excluded.expires_at, read_position = excluded.read_position, as_of = excluded.as_of, ",
                "log_epoch = excluded.log_epoch, sections = excluded.sections, complete = excluded.complete, ",
                "format = excluded.format ",
                "WHERE cache.log_epoch <> excluded.log_epoch OR (excluded.as_of >= cache.as_of AND ",
                "(excluded.complete OR NOT cache.complete OR cache.expires_at <= ",
                $now,
                " OR cache.read_position < $13))",
            ),
            // Such old rows have expired anyway; the condition lets the statement use the index.
            sweep: concat!(
                "DELETE FROM comprehensive_user_data_cache WHERE id IN (SELECT id FROM comprehensive_user_data_cache ",
                "WHERE expires_at <= ",
                $now,
                " AND created_at <= ",
                $ago,
                " ORDER BY expires_at LIMIT $2",
                $skip_locked,
                ")",
            ),
            cleanup: concat!(
                "DELETE FROM comprehensive_user_data_cache WHERE id IN (SELECT id FROM comprehensive_user_data_cache ",
                "WHERE expires_at <= ",
                $now,
                " ORDER BY expires_at LIMIT $1",
                $skip_locked,
                ")",
            ),
            counts: concat!(
                "SELECT COUNT(*) AS total, COUNT(CASE WHEN expires_at <= ",
                $now,
                " THEN 1 END) AS expired ",
                "FROM comprehensive_user_data_cache",
            ),
            accesses: concat!(
                "UPDATE comprehensive_user_data_cache AS cache SET access_count = cache.access_count + seen.n, ",
                "last_accessed = ",
                $later,
                "(cache.last_accessed, seen.last) FROM ",
                $accesses,
                " ",
                "WHERE cache.user_id = seen.user_id AND cache.strategy_key = seen.strategy_key ",
                "AND cache.data_hash = seen.data_hash",
            ),
            purge_memos: "DELETE FROM ai_response_cache WHERE user_id = $1",
        }
    };
}

pub(super) const POSTGRES: Statements = statements! {
    now: "(now() AT TIME ZONE 'utc')",
    after: "(now() AT TIME ZONE 'utc') + CAST($5 AS BIGINT) * INTERVAL '1 microsecond'",
    ago: "(now() AT TIME ZONE 'utc') - CAST($1 AS BIGINT) * INTERVAL '1 second'",
    micros_left: "CAST(EXTRACT(EPOCH FROM expires_at - (now() AT TIME ZONE 'utc')) * 1000000 AS BIGINT)",
    json: "CAST(" " AS JSON)",
    skip_locked: " FOR UPDATE SKIP LOCKED",
    later: "GREATEST",
    accesses: "json_to_recordset(CAST($1 AS JSON)) AS seen(user_id TEXT, strategy_key BIGINT, data_hash TEXT, n BIGINT, last TIMESTAMP)"
};

/// SQLite compares times as text: all have six decimals.
pub(super) const SQLITE: Statements = statements! {
    now: "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')",
    after: "(strftime('%Y-%m-%d %H:%M:%f', 'now', ($5 / 1000000.0) || ' seconds') || '000')",
    ago: "(strftime('%Y-%m-%d %H:%M:%f', 'now', -$1 || ' seconds') || '000')",
    micros_left: "CAST((julianday(expires_at) - julianday('now')) * 86400000000.0 AS INTEGER)",
    json: "" "",
    skip_locked: "",
    later: "MAX",
    accesses: "(SELECT value ->> 'user_id' AS user_id, value ->> 'strategy_key' AS strategy_key, value ->> 'data_hash' AS data_hash, value ->> 'n' AS n, value ->> 'last' AS last FROM json_each($1)) AS seen"
};
