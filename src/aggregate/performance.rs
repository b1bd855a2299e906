//! The performance source: how the user's content and strategy did, and the stored recommendations.
//!
//! It needs to know only which strategy is meant. Sums and counts are formed by the database, means
//! and trends in code, so that platform and overall figures come from the same numbers.

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
use super::{
    Read, SourceError,
    rows::ResolvedStrategy,
    sql::{SourceDatabase, Warnings},
};
use crate::{
    model::UserId,
    proto::v1::{ContentRecommendation, PerformanceData, StrategyKind},
};

/// The PERFORMANCE section, and whether there is anything in it.
#[derive(Clone, Debug)]
pub struct Performance {
    /// The message; its three windows are always there.
    pub data: PerformanceData,
    /// Whether any row was found; NOT_FOUND otherwise.
    pub found: bool,
}

/// Reads the performance of the resolved strategy, or of everything the user published.
pub async fn performance(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
    as_of: DateTime<Utc>,
) -> Result<Read<Performance>, SourceError> {
    let mut warnings = Warnings::default();
    let reading = database.begin().await?;

    let mut data = PerformanceData::default();
    let mut sums = Vec::new();
    if let Some(scope) = AnalyticsScope::of(user, resolved) {
        data.strategy_ids = scope::strategy_ids(&reading, scope, &mut warnings).await?;
        // Without a strategy of the legacy kind nothing can hang on one.
        if !data.strategy_ids.is_empty() {
            sums = analytics::sums(&reading, scope, as_of, &mut warnings).await?;
            data.top_content = top_content::read(&reading, scope, as_of, &mut warnings).await?;
        }
    }
    if let Some(ResolvedStrategy { kind: StrategyKind::Enhanced, id }) = resolved {
        data.strategy_metrics = metrics::read(&reading, id, user, as_of, &mut warnings).await?;
    }
    reading.end().await?;

    let found = !sums.is_empty() || !data.top_content.is_empty() || data.strategy_metrics.is_some();
    data.windows = windows::windows(as_of, &sums);
    Ok(Read { value: Performance { data, found }, warnings })
}

/// Reads the stored recommendations; none is NOT_FOUND.
pub async fn recommendations(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
) -> Result<Read<Vec<ContentRecommendation>>, SourceError> {
    let mut warnings = Warnings::default();
    // The table's users are integers: others have no rows there.
    let Some(owner) = user.integer() else { return Ok(Read { value: Vec::new(), warnings }) };
    let reading = database.begin().await?;
    let value = recommendations::read(&reading, owner, resolved, &mut warnings).await?;
    reading.end().await?;
    Ok(Read { value, warnings })
}
