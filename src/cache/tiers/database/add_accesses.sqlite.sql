-- Adds accesses (a JSON array, ?1) to the rows they belong to; entries without a row are skipped.
UPDATE comprehensive_user_data_cache AS cache
SET access_count = cache.access_count + seen.n,
    last_accessed = MAX(cache.last_accessed, seen.last)
FROM (
    SELECT value ->> 'user_id' AS user_id,
           value ->> 'strategy_key' AS strategy_key,
           value ->> 'data_hash' AS data_hash,
           value ->> 'n' AS n,
           value ->> 'last' AS last
    FROM json_each(?1)
) AS seen
WHERE cache.user_id = seen.user_id
  AND cache.strategy_key = seen.strategy_key
  AND cache.data_hash = seen.data_hash
