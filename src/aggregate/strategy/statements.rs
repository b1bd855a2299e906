//! The source's three statements, and how their rows are read.
//!
//! The resolving statement carries the whole strategy row: what is known first costs no second trip.

use sea_orm::DbErr;
use serde_json::{Map, Value as Json};

use super::super::{
    rows::{ResolvedStrategy, STRATEGY_METRICS, StrategyRow},
    sql::{
        Column::{self, Boolean, Double, Integer, Json as JsonColumn, Text, Time},
        Dialect, ReadTransaction, SourceRow, Warnings,
    },
};
use crate::{
    model::UserId,
    proto::v1::{ActivationStatus, StrategyKind},
};

const ENHANCED: &str = "enhanced_content_strategies";
const LEGACY: &str = "content_strategies";
const ACTIVATION: &str = "strategy_activation_status";
const METRICS: &str = "strategy_performance_metrics";

const ACTIVATION_COLUMNS: [Column; 4] =
    [Integer("activation_id"), Time("activation_date"), Integer("performance_score"), Time("last_updated")];

const LEGACY_COLUMNS: [Column; 8] = [
    Integer("id"),
    Text("name"),
    Text("industry"),
    JsonColumn("target_audience"),
    JsonColumn("content_pillars"),
    JsonColumn("ai_recommendations"),
    Time("created_at"),
    Time("updated_at"),
];

/// What an ENHANCED strategy has beyond [`LEGACY_COLUMNS`].
const ENHANCED_COLUMNS: [Column; 38] = [
    Double("completion_percentage"),
    JsonColumn("business_objectives"),
    JsonColumn("target_metrics"),
    Double("content_budget"),
    Integer("team_size"),
    Text("implementation_timeline"),
    Text("market_share"),
    Text("competitive_position"),
    JsonColumn("content_preferences"),
    JsonColumn("consumption_patterns"),
    JsonColumn("audience_pain_points"),
    JsonColumn("buying_journey"),
    JsonColumn("seasonal_trends"),
    JsonColumn("engagement_metrics"),
    JsonColumn("top_competitors"),
    JsonColumn("competitor_content_strategies"),
    JsonColumn("market_gaps"),
    JsonColumn("industry_trends"),
    JsonColumn("emerging_trends"),
    JsonColumn("preferred_formats"),
    JsonColumn("content_mix"),
    Text("content_frequency"),
    JsonColumn("optimal_timing"),
    JsonColumn("quality_metrics"),
    JsonColumn("editorial_guidelines"),
    JsonColumn("brand_voice"),
    JsonColumn("traffic_sources"),
    JsonColumn("conversion_rates"),
    JsonColumn("content_roi_targets"),
    Boolean("ab_testing_capabilities"),
    JsonColumn("comprehensive_ai_analysis"),
    JsonColumn("onboarding_data_used"),
    JsonColumn("strategic_scores"),
    JsonColumn("market_positioning"),
    JsonColumn("competitive_advantages"),
    JsonColumn("strategic_risks"),
    JsonColumn("opportunity_analysis"),
    JsonColumn("data_source_transparency"),
];

/// All columns that are read of an ENHANCED strategy.
#[cfg(test)]
pub(super) fn columns() -> impl Iterator<Item = Column> {
    LEGACY_COLUMNS.into_iter().chain(ENHANCED_COLUMNS)
}

/// A strategy as found by a resolving statement.
#[derive(Debug)]
pub(super) struct FoundStrategy {
    /// Which one.
    pub(super) resolved: ResolvedStrategy,
    /// Its columns.
    pub(super) row: StrategyRow,
    /// The active activation that was joined to it.
    pub(super) activation: Option<ActivationStatus>,
}

/// The user's ENHANCED strategy `id`; without `id` the active, else the newest analysed, else the
/// newest one.
pub(super) async fn enhanced(
    reading: &ReadTransaction,
    user: &UserId,
    id: Option<i32>,
    warnings: &mut Warnings,
) -> Result<Option<FoundStrategy>, DbErr> {
    let mut values = vec![("user", user.as_str().into())];
    values.extend(id.map(|id| ("strategy", id.into())));
    let Some(row) = reading.one(&enhanced_sql(reading.dialect(), id), &values).await? else { return Ok(None) };
    let Some(id) = row.int32(ENHANCED, "id", warnings) else { return Ok(None) };
    Ok(Some(FoundStrategy {
        resolved: ResolvedStrategy { kind: StrategyKind::Enhanced, id },
        activation: activation(&row, warnings),
        row: enhanced_row(&row, warnings),
    }))
}

/// Only ids and sort keys are sorted: the wide row is fetched for the picked one alone.
pub(super) fn enhanced_sql(dialect: Dialect, id: Option<i32>) -> String {
    let this_one = if id.is_some() { "AND e.id = :strategy" } else { "" };
    format!(
        "WITH pick AS (
           SELECT e.id,
                  CASE WHEN a.id IS NOT NULL THEN 0
                       WHEN e.comprehensive_ai_analysis IS NOT NULL
                            AND CAST(e.comprehensive_ai_analysis AS TEXT) <> 'null' THEN 1
                       ELSE 2 END AS rank,
                  a.id AS activation_id, a.activation_date, a.performance_score, a.last_updated
           FROM {ENHANCED} e
           LEFT JOIN {ACTIVATION} a ON a.strategy_id = e.id AND a.status = 'active'
           WHERE e.user_id = :user {this_one}
           ORDER BY rank, a.activation_date DESC NULLS LAST, a.id DESC NULLS LAST,
                    e.created_at DESC NULLS LAST, e.id DESC
           LIMIT 1)
         SELECT {activation}, {shared}, {own}
         FROM pick JOIN {ENHANCED} e ON e.id = pick.id",
        activation = dialect.select("pick", &ACTIVATION_COLUMNS),
        shared = dialect.select("e", &LEGACY_COLUMNS),
        own = dialect.select("e", &ENHANCED_COLUMNS),
    )
}

/// The user's LEGACY strategy `id`; without `id` the one with the highest id.
pub(super) async fn legacy(
    reading: &ReadTransaction,
    user: i32,
    id: Option<i32>,
    warnings: &mut Warnings,
) -> Result<Option<FoundStrategy>, DbErr> {
    let mut values = vec![("user", user.into())];
    values.extend(id.map(|id| ("strategy", id.into())));
    let Some(row) = reading.one(&legacy_sql(reading.dialect(), id), &values).await? else { return Ok(None) };
    let Some(id) = row.int32(LEGACY, "id", warnings) else { return Ok(None) };
    Ok(Some(FoundStrategy {
        resolved: ResolvedStrategy { kind: StrategyKind::Legacy, id },
        activation: None,
        row: shared_row(LEGACY, &row, warnings),
    }))
}

pub(super) fn legacy_sql(dialect: Dialect, id: Option<i32>) -> String {
    let this_one = if id.is_some() { "AND s.id = :strategy" } else { "" };
    let columns = dialect.select("s", &LEGACY_COLUMNS);
    format!("SELECT {columns} FROM {LEGACY} s WHERE s.user_id = :user {this_one} ORDER BY s.id DESC LIMIT 1")
}

/// The non-null metrics of an ENHANCED strategy's newest metrics row; `Null` if there are none.
pub(super) async fn newest_metrics(
    reading: &ReadTransaction,
    strategy: i32,
    user: &UserId,
    warnings: &mut Warnings,
) -> Result<Json, DbErr> {
    let columns = reading.dialect().select("p", &STRATEGY_METRICS.map(Integer));
    let sql = format!(
        "SELECT {columns} FROM {METRICS} p WHERE p.strategy_id = :strategy AND p.user_id = :user
         ORDER BY p.metric_date DESC NULLS LAST, p.id DESC LIMIT 1"
    );
    let values = [("strategy", strategy.into()), ("user", user.as_str().into())];
    let Some(row) = reading.one(&sql, &values).await? else { return Ok(Json::Null) };
    let metrics: Map<String, Json> = STRATEGY_METRICS
        .into_iter()
        .filter_map(|metric| Some((metric.to_owned(), row.int32(METRICS, metric, warnings)?.into())))
        .collect();
    Ok(if metrics.is_empty() { Json::Null } else { Json::Object(metrics) })
}

fn activation(row: &SourceRow, warnings: &mut Warnings) -> Option<ActivationStatus> {
    row.integer("activation_id")?;
    Some(ActivationStatus {
        activation_date: row.time(ACTIVATION, "activation_date", warnings).map(Into::into),
        performance_score: row.int32(ACTIVATION, "performance_score", warnings),
        last_updated: row.time(ACTIVATION, "last_updated", warnings).map(Into::into),
    })
}

/// What both kinds have.
fn shared_row(table: &str, row: &SourceRow, warnings: &mut Warnings) -> StrategyRow {
    StrategyRow {
        name: row.text("name").unwrap_or_default(),
        industry: row.text("industry"),
        target_audience: row.json(table, "target_audience", warnings),
        content_pillars: row.json(table, "content_pillars", warnings),
        ai_recommendations: row.json(table, "ai_recommendations", warnings),
        created_at: row.time(table, "created_at", warnings),
        updated_at: row.time(table, "updated_at", warnings),
        ..StrategyRow::default()
    }
}

fn enhanced_row(row: &SourceRow, warnings: &mut Warnings) -> StrategyRow {
    let shared = shared_row(ENHANCED, row, warnings);
    let team_size = row.int32(ENHANCED, "team_size", warnings);
    let mut json = |column| row.json(ENHANCED, column, warnings);
    StrategyRow {
        completion_percentage: row.double("completion_percentage"),
        business_objectives: json("business_objectives"),
        target_metrics: json("target_metrics"),
        content_budget: row.double("content_budget"),
        team_size,
        implementation_timeline: row.text("implementation_timeline"),
        market_share: row.text("market_share"),
        competitive_position: row.text("competitive_position"),
        content_preferences: json("content_preferences"),
        consumption_patterns: json("consumption_patterns"),
        audience_pain_points: json("audience_pain_points"),
        buying_journey: json("buying_journey"),
        seasonal_trends: json("seasonal_trends"),
        engagement_metrics: json("engagement_metrics"),
        top_competitors: json("top_competitors"),
        competitor_content_strategies: json("competitor_content_strategies"),
        market_gaps: json("market_gaps"),
        industry_trends: json("industry_trends"),
        emerging_trends: json("emerging_trends"),
        preferred_formats: json("preferred_formats"),
        content_mix: json("content_mix"),
        content_frequency: row.text("content_frequency"),
        optimal_timing: json("optimal_timing"),
        quality_metrics: json("quality_metrics"),
        editorial_guidelines: json("editorial_guidelines"),
        brand_voice: json("brand_voice"),
        traffic_sources: json("traffic_sources"),
        conversion_rates: json("conversion_rates"),
        content_roi_targets: json("content_roi_targets"),
        ab_testing_capabilities: row.boolean("ab_testing_capabilities"),
        comprehensive_ai_analysis: json("comprehensive_ai_analysis"),
        onboarding_data_used: json("onboarding_data_used"),
        strategic_scores: json("strategic_scores"),
        market_positioning: json("market_positioning"),
        competitive_advantages: json("competitive_advantages"),
        strategic_risks: json("strategic_risks"),
        opportunity_analysis: json("opportunity_analysis"),
        data_source_transparency: json("data_source_transparency"),
        // Read by a statement of its own: it is no column.
        performance_metrics: Json::Null,
        ..shared
    }
}
