//! The strategy source: which strategy is meant, its columns, and four objects on its quality.
//!
//! Two steps in one read transaction. [`resolve`] tells which strategy is meant as soon as that is
//! known, because the performance source starts on it; [`Resolution::read`] loads the rest. A
//! strategy is found through its own row's `user_id` only, so somebody else's is the same as none.

mod message;
mod quality;
mod statements;
#[cfg(test)]
mod tests;

use self::statements::FoundStrategy;
use super::{
    Read, SourceError,
    rows::{ResolvedStrategy, Strategy},
    sql::{ReadTransaction, SourceDatabase, Warnings},
};
use crate::{
    model::{StrategyId, UserId},
    proto::v1::{ComprehensiveUserData, StrategyKind},
};

/// Which strategy is meant, and the transaction in which the rest of it is read.
#[derive(Debug)]
pub struct Resolution {
    reading: ReadTransaction,
    user: UserId,
    found: Option<FoundStrategy>,
    warnings: Warnings,
}

/// Finds the strategy that is asked for, or without `asked` the user's active, newest analysed or
/// newest one, an ENHANCED one before a LEGACY one.
pub async fn resolve(
    database: &SourceDatabase,
    user: &UserId,
    asked: Option<StrategyId>,
) -> Result<Resolution, SourceError> {
    let reading = database.begin().await?;
    let mut warnings = Warnings::default();
    let found = find(&reading, user, asked, &mut warnings).await?;
    Ok(Resolution { reading, user: user.clone(), found, warnings })
}

async fn find(
    reading: &ReadTransaction,
    user: &UserId,
    asked: Option<StrategyId>,
    warnings: &mut Warnings,
) -> Result<Option<FoundStrategy>, SourceError> {
    // Both tables' ids are 32 bits wide: a greater number is nobody's.
    let Ok(id) = asked.map(|asked| i32::try_from(asked.get())).transpose() else { return Ok(None) };
    if let Some(found) = statements::enhanced(reading, user, id, warnings).await? {
        return Ok(Some(found));
    }
    let Some(legacy_user) = user.integer() else { return Ok(None) };
    Ok(statements::legacy(reading, legacy_user, id, warnings).await?)
}

impl Resolution {
    /// Which strategy is meant; none if the user has none, or not the one asked for.
    #[must_use]
    pub fn resolved(&self) -> Option<ResolvedStrategy> {
        self.found.as_ref().map(|found| found.resolved)
    }

    /// Reads what is missing, judges the whole and ends the transaction.
    pub async fn read(self) -> Result<Read<Option<Strategy>>, SourceError> {
        let Self { reading, user, found, mut warnings } = self;
        let Some(mut found) = found else {
            reading.end().await?;
            return Ok(Read { value: None, warnings });
        };
        if found.resolved.kind == StrategyKind::Enhanced {
            found.row.performance_metrics =
                statements::newest_metrics(&reading, found.resolved.id, &user, &mut warnings).await?;
        }
        reading.end().await?;
        Ok(Read { value: Some(message::strategy(&user, found)), warnings })
    }
}

/// The section's part of the document.
#[must_use]
pub fn document(strategy: Option<&Strategy>) -> ComprehensiveUserData {
    let data = strategy.map(|strategy| strategy.data.clone());
    ComprehensiveUserData {
        strategy_analysis: data.as_ref().and_then(|data| data.strategy_analysis.clone()),
        quality_indicators: data.as_ref().and_then(|data| data.quality_indicators),
        strategy_data: data,
        ..ComprehensiveUserData::default()
    }
}
