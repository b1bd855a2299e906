//! Content recommendations that the planning application stored, the rejected ones left out.

use sea_orm::{DbErr, Value};

use super::super::{
    rows::ResolvedStrategy,
    sql::{
        Column::{self, Integer, Json, Text, Time},
        Dialect, ReadTransaction, SourceRow, Warnings,
    },
    value::strings,
};
use crate::proto::v1::{ContentRecommendation, StrategyKind};

const TABLE: &str = "content_recommendations";
const DESCRIPTION_CHARS_MAX: usize = 2000;

const COLUMNS: [Column; 13] = [
    Integer("id"),
    Integer("strategy_id"),
    Text("recommendation_type"),
    Text("title"),
    Text("description"),
    Json("target_keywords"),
    Text("estimated_length"),
    Text("priority"),
    Json("platforms"),
    Text("estimated_performance"),
    Text("status"),
    Time("created_at"),
    Time("updated_at"),
];

/// The user's recommendations, high priority first, then newest first; at most 50.
pub(super) async fn read(
    reading: &ReadTransaction,
    user: i32,
    resolved: Option<ResolvedStrategy>,
    warnings: &mut Warnings,
) -> Result<Vec<ContentRecommendation>, DbErr> {
    let strategy = legacy(resolved);
    let rows = reading.all(&sql(reading.dialect(), strategy), &values(user, strategy)).await?;
    Ok(rows.iter().filter_map(|row| recommendation(user, row, warnings)).collect())
}

/// Recommendations know legacy strategies only; any other strategy does not narrow them.
fn legacy(resolved: Option<ResolvedStrategy>) -> Option<i32> {
    resolved.filter(|strategy| strategy.kind == StrategyKind::Legacy).map(|strategy| strategy.id)
}

pub(super) fn sql(dialect: Dialect, strategy: Option<i32>) -> String {
    let its_own = if strategy.is_some() { "AND (r.strategy_id = :strategy OR r.strategy_id IS NULL)" } else { "" };
    format!(
        "SELECT {columns} FROM {TABLE} r
         WHERE r.user_id = :user AND LOWER(COALESCE(r.status, 'pending')) <> 'rejected' {its_own}
         ORDER BY CASE LOWER(COALESCE(r.priority, 'medium'))
                  WHEN 'high' THEN 0 WHEN 'medium' THEN 1 WHEN 'low' THEN 2 ELSE 3 END,
                  r.updated_at DESC NULLS LAST, r.id DESC
         LIMIT 50",
        columns = dialect.select("r", &COLUMNS)
    )
}

/// What the placeholders of [`sql`] stand for.
pub(super) fn values(user: i32, strategy: Option<i32>) -> Vec<(&'static str, Value)> {
    let mut values = vec![("user", user.into())];
    values.extend(strategy.map(|id| ("strategy", id.into())));
    values
}

fn recommendation(user: i32, row: &SourceRow, warnings: &mut Warnings) -> Option<ContentRecommendation> {
    Some(ContentRecommendation {
        id: row.int32(TABLE, "id", warnings)?,
        strategy_id: row.int32(TABLE, "strategy_id", warnings).map(i64::from),
        user_id: user.to_string(),
        recommendation_type: row.text("recommendation_type").unwrap_or_default(),
        title: row.text("title").unwrap_or_default(),
        description: row.text("description").map(|text| text.chars().take(DESCRIPTION_CHARS_MAX).collect()),
        target_keywords: strings(&row.json(TABLE, "target_keywords", warnings)),
        estimated_length: row.text("estimated_length"),
        priority: row.text("priority").unwrap_or_else(|| "medium".to_owned()),
        platforms: strings(&row.json(TABLE, "platforms", warnings)),
        estimated_performance: row.text("estimated_performance"),
        status: row.text("status").unwrap_or_else(|| "pending".to_owned()),
        created_at: row.time(TABLE, "created_at", warnings).map(Into::into),
        updated_at: row.time(TABLE, "updated_at", warnings).map(Into::into),
    })
}
