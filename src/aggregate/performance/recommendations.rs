//! Content recommendations that the planning application stored, the rejected ones left out.

use sea_orm::{DbErr, Value};

use super::{
    super::{
        sql::{ReadTransaction, SourceRow, Warnings},
        value::strings,
    },
    scope::AnalyticsScope,
};
use crate::{
    database::SqlFile, model::UserId, proto::v1::ContentRecommendation, source_schema::CONTENT_RECOMMENDATIONS,
};

pub(super) const RECOMMENDATIONS: SqlFile = SqlFile::same(include_str!("sql/recommendations.sql"));
const DESCRIPTION_CHARS_MAX: usize = 2000;

/// The scope's recommendations, high priority first, then newest first; at most 50.
pub(super) async fn read(
    reading: &ReadTransaction,
    scope: AnalyticsScope<'_>,
    warnings: &mut Warnings,
) -> Result<Vec<ContentRecommendation>, DbErr> {
    let rows = reading.all(RECOMMENDATIONS, values(reading, scope)).await?;
    Ok(rows.iter().filter_map(|row| recommendation(scope.user, row, warnings)).collect())
}

/// The values of the statement's placeholders.
pub(super) fn values(reading: &ReadTransaction, scope: AnalyticsScope<'_>) -> [Value; 3] {
    let [user, strategy] = scope.values();
    [user, strategy, reading.json_bytes_max()]
}

fn recommendation(user: &UserId, row: &SourceRow, warnings: &mut Warnings) -> Option<ContentRecommendation> {
    let mut row = row.of(&CONTENT_RECOMMENDATIONS, warnings);
    Some(ContentRecommendation {
        id: row.integer("id")?,
        strategy_id: row.integer("strategy_id").map(i64::from),
        user_id: user.to_string(),
        recommendation_type: row.text("recommendation_type").unwrap_or_default(),
        title: row.text("title").unwrap_or_default(),
        description: row.text("description").map(|text| text.chars().take(DESCRIPTION_CHARS_MAX).collect()),
        target_keywords: strings(&row.json("target_keywords")),
        estimated_length: row.text("estimated_length"),
        priority: row.text("priority").unwrap_or_else(|| "medium".to_owned()),
        platforms: strings(&row.json("platforms")),
        estimated_performance: row.text("estimated_performance"),
        status: row.text("status").unwrap_or_else(|| "pending".to_owned()),
        created_at: row.time("created_at").map(Into::into),
        updated_at: row.time("updated_at").map(Into::into),
    })
}
