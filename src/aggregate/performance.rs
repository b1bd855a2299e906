//! The performance source: the results of the user's content and strategy, and the stored recommendations.
//!
//! It depends only on which strategy is meant. The database forms sums and counts; means and trends are computed from
//! them here, so that the values of platforms and of the whole come from the same numbers.

mod analytics;
mod metrics;
mod recommendations;
mod scope;
mod sums;
#[cfg(test)]
mod tests;
mod top_content;
mod trend;
mod windows;

use chrono::{DateTime, Utc};

use self::scope::AnalyticsScope;
use super::{Read, SourceError, rows::ResolvedStrategy, sql::SourceDatabase, strategy_metrics};
use crate::{
    database::SqlFile,
    model::UserId,
    proto::v1::{ContentRecommendation, PerformanceData, StrategyKind},
    source_schema::CALENDAR_EVENTS,
};

/// The statements of the PERFORMANCE section.
const STATEMENTS: [SqlFile; 5] = [
    scope::STRATEGY_IDS,
    analytics::ANALYTICS_SUMS,
    top_content::TOP_CONTENT,
    metrics::AVERAGES,
    strategy_metrics::NEWEST,
];

/// The PERFORMANCE section.
#[derive(Clone, Debug)]
pub struct Performance {
    /// Always has its three windows.
    pub data: PerformanceData,
    /// Whether there is any row; the section is NOT_FOUND otherwise.
    pub found: bool,
}

/// Reads the performance of the resolved strategy, or of all content of the user.
pub async fn performance(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
    as_of: DateTime<Utc>,
) -> Result<Read<Performance>, SourceError> {
    database.read(|| read_performance(database, user, resolved, as_of)).await
}

async fn read_performance(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
    as_of: DateTime<Utc>,
) -> Result<Read<Performance>, SourceError> {
    let (reading, mut warnings) = database.begin(&STATEMENTS).await?;
    let scope = AnalyticsScope::of(user, resolved);
    let mut data =
        PerformanceData { strategy_ids: scope.strategy_ids(&reading, &mut warnings).await?, ..Default::default() };
    let mut sums = Vec::new();
    // Analytics belong to a legacy strategy or to an event, and an event that names no user belongs to such a strategy.
    if !data.strategy_ids.is_empty() || reading.has(&CALENDAR_EVENTS, "user_id") {
        sums = analytics::sums(&reading, scope, as_of, &mut warnings).await?;
        data.top_content = top_content::read(&reading, scope, as_of, &mut warnings).await?;
    }
    if let Some(ResolvedStrategy { kind: StrategyKind::Enhanced, id }) = resolved {
        data.strategy_metrics = metrics::read(&reading, id, user, as_of, &mut warnings).await?;
    }
    reading.end().await?;

    let found = !sums.is_empty() || !data.top_content.is_empty() || data.strategy_metrics.is_some();
    data.windows = windows::windows(as_of, &sums);
    Ok(Read { value: Performance { data, found }, warnings })
}

/// Reads the stored recommendations; without any, the section is NOT_FOUND.
pub async fn recommendations(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
) -> Result<Read<Vec<ContentRecommendation>>, SourceError> {
    database
        .read(|| async {
            let (reading, mut warnings) = database.begin(&[recommendations::RECOMMENDATIONS]).await?;
            let value = recommendations::read(&reading, AnalyticsScope::of(user, resolved), &mut warnings).await?;
            reading.end().await?;
            Ok(Read { value, warnings })
        })
        .await
}
