-- What are the means of an enhanced strategy's metrics over 30 and 90 days? A window without rows has a row of 0
-- records.
-- $1: the strategy's id, $2: the user, $3 and $4: start of 30 and of 90 days, excluded, $5: the end of both, included.
WITH period(days) AS (
    VALUES (30), (90)
)
SELECT
    CAST(period.days AS BIGINT) AS days,
    COUNT(m.id) AS n,
    AVG(CAST(m.traffic_growth_percentage AS DOUBLE PRECISION)) AS traffic_growth_percentage,
    AVG(CAST(m.engagement_rate_percentage AS DOUBLE PRECISION)) AS engagement_rate_percentage,
    AVG(CAST(m.conversion_rate_percentage AS DOUBLE PRECISION)) AS conversion_rate_percentage,
    AVG(CAST(m.roi_ratio AS DOUBLE PRECISION)) AS roi_ratio,
    AVG(CAST(m.strategy_adoption_rate AS DOUBLE PRECISION)) AS strategy_adoption_rate,
    AVG(CAST(m.content_quality_score AS DOUBLE PRECISION)) AS content_quality_score,
    AVG(CAST(m.competitive_position_rank AS DOUBLE PRECISION)) AS competitive_position_rank,
    AVG(CAST(m.audience_growth_percentage AS DOUBLE PRECISION)) AS audience_growth_percentage,
    AVG(CAST(m.confidence_score AS DOUBLE PRECISION)) AS confidence_score
FROM period
LEFT JOIN strategy_performance_metrics m
    ON m.strategy_id = $1
    AND m.user_id = $2
    AND m.metric_date > CASE period.days WHEN 30 THEN $3 ELSE $4 END
    AND m.metric_date <= $5
GROUP BY period.days
ORDER BY period.days
