-- Which enhanced strategy of the user is meant? The one asked for; else the active, else the newest analysed, else the
-- newest one. Only ids and sort keys are sorted: the wide row is fetched for the picked strategy alone.
-- The comparison with 1e300 leaves out text, which SQLite may hold in a number's column.
-- $1: the user, $2: the strategy's id or NULL, $3: bytes of a JSON column at most.
WITH pick AS (
    SELECT
        e.id,
        CASE
            WHEN a.id IS NOT NULL THEN 0
            WHEN e.comprehensive_ai_analysis IS NOT NULL AND CAST(e.comprehensive_ai_analysis AS TEXT) <> 'null' THEN 1
            ELSE 2
        END AS rank,
        a.id AS activation_id,
        a.activation_date,
        a.performance_score,
        a.last_updated
    FROM enhanced_content_strategies e
    LEFT JOIN strategy_activation_status a ON a.strategy_id = e.id AND a.status = 'active'
    WHERE e.user_id = $1 AND e.id = COALESCE($2, e.id)
    ORDER BY rank, a.activation_date DESC NULLS LAST, a.id DESC NULLS LAST, e.created_at DESC NULLS LAST, e.id DESC
    LIMIT 1
)
SELECT
    CAST(pick.activation_id AS BIGINT) AS activation_id,
    CAST(pick.activation_date AS TEXT) AS activation_date,
    CAST(pick.performance_score AS TEXT) AS performance_score,
    CAST(pick.last_updated AS TEXT) AS last_updated,
    CAST(e.id AS BIGINT) AS id,
    CAST(e.name AS TEXT) AS name,
    CAST(e.industry AS TEXT) AS industry,
    CASE WHEN octet_length(CAST(e.target_audience AS TEXT)) > $3 THEN '#' ELSE CAST(e.target_audience AS TEXT) END AS target_audience,
    CASE WHEN octet_length(CAST(e.content_pillars AS TEXT)) > $3 THEN '#' ELSE CAST(e.content_pillars AS TEXT) END AS content_pillars,
    CASE WHEN octet_length(CAST(e.ai_recommendations AS TEXT)) > $3 THEN '#' ELSE CAST(e.ai_recommendations AS TEXT) END AS ai_recommendations,
    CAST(e.created_at AS TEXT) AS created_at,
    CAST(e.updated_at AS TEXT) AS updated_at,
    CASE WHEN e.completion_percentage < 1e300 THEN CAST(e.completion_percentage AS DOUBLE PRECISION) END AS completion_percentage,
    CASE WHEN e.content_budget < 1e300 THEN CAST(e.content_budget AS DOUBLE PRECISION) END AS content_budget,
    CAST(e.team_size AS TEXT) AS team_size,
    CAST(e.implementation_timeline AS TEXT) AS implementation_timeline,
    CAST(e.market_share AS TEXT) AS market_share,
    CAST(e.competitive_position AS TEXT) AS competitive_position,
    CAST(e.content_frequency AS TEXT) AS content_frequency,
    CAST(e.ab_testing_capabilities AS TEXT) AS ab_testing_capabilities,
    CASE WHEN octet_length(CAST(e.business_objectives AS TEXT)) > $3 THEN '#' ELSE CAST(e.business_objectives AS TEXT) END AS business_objectives,
    CASE WHEN octet_length(CAST(e.target_metrics AS TEXT)) > $3 THEN '#' ELSE CAST(e.target_metrics AS TEXT) END AS target_metrics,
    CASE WHEN octet_length(CAST(e.content_preferences AS TEXT)) > $3 THEN '#' ELSE CAST(e.content_preferences AS TEXT) END AS content_preferences,
    CASE WHEN octet_length(CAST(e.consumption_patterns AS TEXT)) > $3 THEN '#' ELSE CAST(e.consumption_patterns AS TEXT) END AS consumption_patterns,
    CASE WHEN octet_length(CAST(e.audience_pain_points AS TEXT)) > $3 THEN '#' ELSE CAST(e.audience_pain_points AS TEXT) END AS audience_pain_points,
    CASE WHEN octet_length(CAST(e.buying_journey AS TEXT)) > $3 THEN '#' ELSE CAST(e.buying_journey AS TEXT) END AS buying_journey,
    CASE WHEN octet_length(CAST(e.seasonal_trends AS TEXT)) > $3 THEN '#' ELSE CAST(e.seasonal_trends AS TEXT) END AS seasonal_trends,
    CASE WHEN octet_length(CAST(e.engagement_metrics AS TEXT)) > $3 THEN '#' ELSE CAST(e.engagement_metrics AS TEXT) END AS engagement_metrics,
    CASE WHEN octet_length(CAST(e.top_competitors AS TEXT)) > $3 THEN '#' ELSE CAST(e.top_competitors AS TEXT) END AS top_competitors,
    CASE WHEN octet_length(CAST(e.competitor_content_strategies AS TEXT)) > $3 THEN '#' ELSE CAST(e.competitor_content_strategies AS TEXT) END AS competitor_content_strategies,
    CASE WHEN octet_length(CAST(e.market_gaps AS TEXT)) > $3 THEN '#' ELSE CAST(e.market_gaps AS TEXT) END AS market_gaps,
    CASE WHEN octet_length(CAST(e.industry_trends AS TEXT)) > $3 THEN '#' ELSE CAST(e.industry_trends AS TEXT) END AS industry_trends,
    CASE WHEN octet_length(CAST(e.emerging_trends AS TEXT)) > $3 THEN '#' ELSE CAST(e.emerging_trends AS TEXT) END AS emerging_trends,
    CASE WHEN octet_length(CAST(e.preferred_formats AS TEXT)) > $3 THEN '#' ELSE CAST(e.preferred_formats AS TEXT) END AS preferred_formats,
    CASE WHEN octet_length(CAST(e.content_mix AS TEXT)) > $3 THEN '#' ELSE CAST(e.content_mix AS TEXT) END AS content_mix,
    CASE WHEN octet_length(CAST(e.optimal_timing AS TEXT)) > $3 THEN '#' ELSE CAST(e.optimal_timing AS TEXT) END AS optimal_timing,
    CASE WHEN octet_length(CAST(e.quality_metrics AS TEXT)) > $3 THEN '#' ELSE CAST(e.quality_metrics AS TEXT) END AS quality_metrics,
    CASE WHEN octet_length(CAST(e.editorial_guidelines AS TEXT)) > $3 THEN '#' ELSE CAST(e.editorial_guidelines AS TEXT) END AS editorial_guidelines,
    CASE WHEN octet_length(CAST(e.brand_voice AS TEXT)) > $3 THEN '#' ELSE CAST(e.brand_voice AS TEXT) END AS brand_voice,
    CASE WHEN octet_length(CAST(e.traffic_sources AS TEXT)) > $3 THEN '#' ELSE CAST(e.traffic_sources AS TEXT) END AS traffic_sources,
    CASE WHEN octet_length(CAST(e.conversion_rates AS TEXT)) > $3 THEN '#' ELSE CAST(e.conversion_rates AS TEXT) END AS conversion_rates,
    CASE WHEN octet_length(CAST(e.content_roi_targets AS TEXT)) > $3 THEN '#' ELSE CAST(e.content_roi_targets AS TEXT) END AS content_roi_targets,
    CASE WHEN octet_length(CAST(e.performance_metrics AS TEXT)) > $3 THEN '#' ELSE CAST(e.performance_metrics AS TEXT) END AS performance_metrics,
    CASE WHEN octet_length(CAST(e.comprehensive_ai_analysis AS TEXT)) > $3 THEN '#' ELSE CAST(e.comprehensive_ai_analysis AS TEXT) END AS comprehensive_ai_analysis,
    CASE WHEN octet_length(CAST(e.onboarding_data_used AS TEXT)) > $3 THEN '#' ELSE CAST(e.onboarding_data_used AS TEXT) END AS onboarding_data_used,
    CASE WHEN octet_length(CAST(e.strategic_scores AS TEXT)) > $3 THEN '#' ELSE CAST(e.strategic_scores AS TEXT) END AS strategic_scores,
    CASE WHEN octet_length(CAST(e.market_positioning AS TEXT)) > $3 THEN '#' ELSE CAST(e.market_positioning AS TEXT) END AS market_positioning,
    CASE WHEN octet_length(CAST(e.competitive_advantages AS TEXT)) > $3 THEN '#' ELSE CAST(e.competitive_advantages AS TEXT) END AS competitive_advantages,
    CASE WHEN octet_length(CAST(e.strategic_risks AS TEXT)) > $3 THEN '#' ELSE CAST(e.strategic_risks AS TEXT) END AS strategic_risks,
    CASE WHEN octet_length(CAST(e.opportunity_analysis AS TEXT)) > $3 THEN '#' ELSE CAST(e.opportunity_analysis AS TEXT) END AS opportunity_analysis,
    CASE WHEN octet_length(CAST(e.data_source_transparency AS TEXT)) > $3 THEN '#' ELSE CAST(e.data_source_transparency AS TEXT) END AS data_source_transparency
FROM pick
JOIN enhanced_content_strategies e ON e.id = pick.id
