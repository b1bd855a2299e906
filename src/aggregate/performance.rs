//! (signatures that the aggregator is built against; the body is being written elsewhere)

use chrono::{DateTime, Utc};

use super::{Read, SourceError, rows::ResolvedStrategy, sql::SourceDatabase};
use crate::{
    model::UserId,
    proto::v1::{ContentRecommendation, PerformanceData},
};

/// What it found.
#[derive(Clone, Debug)]
pub struct Performance {
    /// The message.
    pub data: PerformanceData,
    /// Whether there is any row.
    pub found: bool,
}

/// Measured performance.
pub async fn performance(
    _database: &SourceDatabase,
    _user: &UserId,
    _resolved: Option<ResolvedStrategy>,
    _as_of: DateTime<Utc>,
) -> Result<Read<Performance>, SourceError> {
    unimplemented!()
}

/// Stored recommendations.
pub async fn recommendations(
    _database: &SourceDatabase,
    _user: &UserId,
    _resolved: Option<ResolvedStrategy>,
) -> Result<Read<Vec<ContentRecommendation>>, SourceError> {
    unimplemented!()
}
