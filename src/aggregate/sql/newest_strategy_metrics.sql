-- Which metrics of an enhanced strategy were recorded last? $1: the strategy's id, $2: the user.
SELECT
    CAST(m.metric_date AS TEXT) AS metric_date,
    CAST(m.data_source AS TEXT) AS data_source,
    CAST(m.traffic_growth_percentage AS TEXT) AS traffic_growth_percentage,
    CAST(m.engagement_rate_percentage AS TEXT) AS engagement_rate_percentage,
    CAST(m.conversion_rate_percentage AS TEXT) AS conversion_rate_percentage,
    CAST(m.roi_ratio AS TEXT) AS roi_ratio,
    CAST(m.strategy_adoption_rate AS TEXT) AS strategy_adoption_rate,
    CAST(m.content_quality_score AS TEXT) AS content_quality_score,
    CAST(m.competitive_position_rank AS TEXT) AS competitive_position_rank,
    CAST(m.audience_growth_percentage AS TEXT) AS audience_growth_percentage,
    CAST(m.confidence_score AS TEXT) AS confidence_score
FROM strategy_performance_metrics m
WHERE m.strategy_id = $1 AND m.user_id = $2
ORDER BY m.metric_date DESC NULLS LAST, m.id DESC
LIMIT 1
