-- How did the user's content do, by window, platform and half of the window?
-- The application writes metrics freely: each number passes guards first, because one odd row would fail the statement.
-- MATERIALIZED, or PostgreSQL would parse the JSON of a row again for each number and window.
-- $1: the user, $2: a legacy strategy's id or NULL for all, $3 and $4: start (excluded) and middle of the
-- window of 7 days, $5 and $6: of 30 days, $7 and $8: of 90 days, $9: the end of all, included.
WITH own AS (
    SELECT s.id FROM content_strategies s WHERE s.user_id = $1 AND s.id = COALESCE($2, s.id)
),
event AS (
    SELECT ce.id
    FROM calendar_events ce
    WHERE ce.strategy_id IN (SELECT own.id FROM own) AND COALESCE(NULLIF(ce.user_id, ''), $1) = $1
    UNION
    SELECT ce.id FROM calendar_events ce WHERE ce.user_id = $1 AND $2 IS NULL
),
src AS (
    SELECT ca.platform, ca.metrics, ca.performance_score, ca.recorded_at
    FROM content_analytics ca
    WHERE ca.strategy_id IN (SELECT own.id FROM own) AND ca.recorded_at > $7 AND ca.recorded_at <= $9
    UNION ALL
    SELECT ca.platform, ca.metrics, ca.performance_score, ca.recorded_at
    FROM event
    JOIN content_analytics ca ON ca.event_id = event.id
    WHERE ca.strategy_id IS NULL
        AND ca.recorded_at > $7
        AND ca.recorded_at <= $9
),
safe AS MATERIALIZED (
    SELECT
        src.platform,
        src.recorded_at,
        CASE WHEN src.performance_score BETWEEN -1000000 AND 1000000 THEN src.performance_score END AS score,
        CASE
            WHEN src.metrics IS NULL THEN CAST('{}' AS JSON)
            WHEN CAST(src.metrics AS TEXT) ~ '\\u(0000|[dD][89a-fA-F])' THEN NULL
            WHEN json_typeof(src.metrics) <> 'object' THEN CAST('{}' AS JSON)
            ELSE src.metrics
        END AS m
    FROM src
),
numbers AS MATERIALIZED (
    SELECT
        safe.platform,
        safe.recorded_at,
        safe.score,
        CASE WHEN safe.m IS NULL THEN 1 ELSE 0 END AS unread,
        CASE
            WHEN json_typeof(safe.m -> 'engagement_rate') = 'number' AND safe.m ->> 'engagement_rate' ~ '^-?[0-9]{1,15}([.][0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$'
                THEN CASE WHEN abs(CAST(safe.m ->> 'engagement_rate' AS DOUBLE PRECISION)) <= 1e15 THEN CAST(safe.m ->> 'engagement_rate' AS DOUBLE PRECISION) END
        END AS er,
        CASE
            WHEN json_typeof(safe.m -> 'conversion_rate') = 'number' AND safe.m ->> 'conversion_rate' ~ '^-?[0-9]{1,15}([.][0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$'
                THEN CASE WHEN abs(CAST(safe.m ->> 'conversion_rate' AS DOUBLE PRECISION)) <= 1e15 THEN CAST(safe.m ->> 'conversion_rate' AS DOUBLE PRECISION) END
        END AS cr,
        CASE
            WHEN json_typeof(safe.m -> 'click_through_rate') = 'number' AND safe.m ->> 'click_through_rate' ~ '^-?[0-9]{1,15}([.][0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$'
                THEN CASE WHEN abs(CAST(safe.m ->> 'click_through_rate' AS DOUBLE PRECISION)) <= 1e15 THEN CAST(safe.m ->> 'click_through_rate' AS DOUBLE PRECISION) END
        END AS ctr,
        CASE
            WHEN json_typeof(safe.m -> 'reach') = 'number' AND safe.m ->> 'reach' ~ '^-?[0-9]{1,15}([.][0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$'
                THEN CASE WHEN abs(CAST(safe.m ->> 'reach' AS DOUBLE PRECISION)) <= 1e15 THEN CAST(safe.m ->> 'reach' AS DOUBLE PRECISION) END
        END AS reach
    FROM safe
),
period(days, since, middle) AS (
    VALUES
        (7, CAST($3 AS TIMESTAMP), CAST($4 AS TIMESTAMP)),
        (30, CAST($5 AS TIMESTAMP), CAST($6 AS TIMESTAMP)),
        (90, CAST($7 AS TIMESTAMP), CAST($8 AS TIMESTAMP))
)
SELECT
    CAST(period.days AS BIGINT) AS days,
    LOWER(TRIM(numbers.platform)) AS platform,
    CAST(CASE WHEN numbers.recorded_at > period.middle THEN 1 ELSE 0 END AS BIGINT) AS recent,
    COUNT(*) AS n,
    COUNT(numbers.score) AS n_score, SUM(numbers.score) AS sum_score,
    COUNT(numbers.er) AS n_er, SUM(numbers.er) AS sum_er,
    COUNT(numbers.cr) AS n_cr, SUM(numbers.cr) AS sum_cr,
    COUNT(numbers.ctr) AS n_ctr, SUM(numbers.ctr) AS sum_ctr,
    COUNT(numbers.reach) AS n_reach, SUM(numbers.reach) AS sum_reach,
    CAST(SUM(numbers.unread) AS BIGINT) AS unread
FROM period
JOIN numbers ON numbers.recorded_at > period.since
GROUP BY period.days, LOWER(TRIM(numbers.platform)), CASE WHEN numbers.recorded_at > period.middle THEN 1 ELSE 0 END
