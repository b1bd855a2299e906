-- Adds accesses (a JSON array, $1) to the rows they belong to; entries without a row are skipped.
UPDATE comprehensive_user_data_cache AS cache
SET access_count = cache.access_count + seen.n,
    last_accessed = GREATEST(cache.last_accessed, seen.last)
FROM json_to_recordset(CAST($1 AS JSON))
    AS seen (user_id TEXT, strategy_key BIGINT, data_hash TEXT, n BIGINT, last TIMESTAMP)
WHERE cache.user_id = seen.user_id
  AND cache.strategy_key = seen.strategy_key
  AND cache.data_hash = seen.data_hash
