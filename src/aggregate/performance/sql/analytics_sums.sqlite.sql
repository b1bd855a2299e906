-- How did the user's content do, by window, platform and half of the window?
-- The application writes metrics freely: each number passes guards first, because one odd row would fail the statement.
-- Python writes NaN and Infinity into metrics; JSON5, by which SQLite reads them, has these numbers. They are no figures.
-- The absolute value of the least integer is an error in SQLite, a range is not. The + keeps SQLite from the index
-- on strategy_id, by which it would read the rows of all users that have none.
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
    WHERE +ca.strategy_id IS NULL
        AND ca.recorded_at > $7
        AND ca.recorded_at <= $9
),
safe AS MATERIALIZED (
    SELECT
        src.platform,
        src.recorded_at,
        CASE WHEN src.performance_score BETWEEN -1000000 AND 1000000 THEN src.performance_score END AS score,
        CASE
            WHEN typeof(src.metrics) IN ('null', 'integer', 'real') THEN '{}'
            WHEN typeof(src.metrics) = 'text' AND json_valid(src.metrics, 2) AND instr(src.metrics, '\u0000') = 0
                AND src.metrics NOT GLOB '*\u[dD][89a-fA-F]*' THEN src.metrics
        END AS m,
        typeof(src.metrics) = 'text' AND NOT json_valid(src.metrics) AS lenient
    FROM src
),
numbers AS MATERIALIZED (
    SELECT
        safe.platform,
        safe.recorded_at,
        safe.score,
        CASE WHEN safe.m IS NULL THEN 1 ELSE 0 END AS unread,
        CASE WHEN safe.m IS NOT NULL AND safe.lenient THEN 1 ELSE 0 END AS nan,
        CASE
            WHEN json_type(safe.m, '$.engagement_rate') IN ('integer', 'real') AND json_extract(safe.m, '$.engagement_rate') BETWEEN -1e15 AND 1e15
                THEN json_extract(safe.m, '$.engagement_rate') * 1.0
        END AS er,
        CASE
            WHEN json_type(safe.m, '$.conversion_rate') IN ('integer', 'real') AND json_extract(safe.m, '$.conversion_rate') BETWEEN -1e15 AND 1e15
                THEN json_extract(safe.m, '$.conversion_rate') * 1.0
        END AS cr,
        CASE
            WHEN json_type(safe.m, '$.click_through_rate') IN ('integer', 'real') AND json_extract(safe.m, '$.click_through_rate') BETWEEN -1e15 AND 1e15
                THEN json_extract(safe.m, '$.click_through_rate') * 1.0
        END AS ctr,
        CASE
            WHEN json_type(safe.m, '$.reach') IN ('integer', 'real') AND json_extract(safe.m, '$.reach') BETWEEN -1e15 AND 1e15
                THEN json_extract(safe.m, '$.reach') * 1.0
        END AS reach
    FROM safe
),
period(days, since, middle) AS (
    VALUES (7, $3, $4), (30, $5, $6), (90, $7, $8)
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
    CAST(SUM(numbers.unread) AS BIGINT) AS unread,
    CAST(SUM(numbers.nan) AS BIGINT) AS nan
FROM period
JOIN numbers ON numbers.recorded_at > period.since
GROUP BY period.days, LOWER(TRIM(numbers.platform)), CASE WHEN numbers.recorded_at > period.middle THEN 1 ELSE 0 END
