//! (signatures that the aggregator is built against; the body is being written elsewhere)

use super::{
    Read, SourceError,
    rows::{ResolvedStrategy, Strategy},
    sql::SourceDatabase,
};
use crate::{
    model::{StrategyId, UserId},
    proto::v1::ComprehensiveUserData,
};

/// Which strategy is meant.
#[derive(Debug)]
pub struct Resolution;

/// Finds out which.
pub async fn resolve(
    _database: &SourceDatabase,
    _user: &UserId,
    _asked: Option<StrategyId>,
) -> Result<Resolution, SourceError> {
    unimplemented!()
}

impl Resolution {
    /// Which.
    #[must_use]
    pub fn resolved(&self) -> Option<ResolvedStrategy> {
        unimplemented!()
    }
    /// The rest of it.
    pub async fn read(self) -> Result<Read<Option<Strategy>>, SourceError> {
        unimplemented!()
    }
}

/// Its section.
#[must_use]
pub fn document(_strategy: Option<&Strategy>) -> ComprehensiveUserData {
    unimplemented!()
}
