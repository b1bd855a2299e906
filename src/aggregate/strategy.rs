//! The strategy source: the strategy that a document is about, its columns, and four objects on its quality.
//!
//! It reads in two steps, in one transaction. [`resolve`] finds the strategy, because the performance source waits for
//! that; [`Resolution::read`] reads the rest. A strategy is found only through the `user_id` of its own row, so another
//! user's strategy is the same as none.

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
    strategy_metrics,
    value::filled,
};
use crate::{
    model::{StrategyId, UserId},
    proto::v1::{ComprehensiveUserData, StrategyKind},
    source_schema::STRATEGY_METRICS,
};

/// The strategy, and the transaction in which the rest of it is read.
#[derive(Debug)]
pub struct Resolution {
    reading: ReadTransaction,
    user: UserId,
    found: Option<FoundStrategy>,
    warnings: Warnings,
}

/// Finds the strategy `asked` for; without `asked` the user's active, else newest analysed, else newest one, an
/// ENHANCED one before a LEGACY one.
pub async fn resolve(
    database: &SourceDatabase,
    user: &UserId,
    asked: Option<StrategyId>,
) -> Result<Resolution, SourceError> {
    database
        .read(|| async {
            let (reading, mut warnings) = database.begin(&statements::STATEMENTS).await?;
            let found = find(&reading, user, asked, &mut warnings).await?;
            Ok(Resolution { reading, user: user.clone(), found, warnings })
        })
        .await
}

async fn find(
    reading: &ReadTransaction,
    user: &UserId,
    asked: Option<StrategyId>,
    warnings: &mut Warnings,
) -> Result<Option<FoundStrategy>, SourceError> {
    // Both tables' ids have 32 bits: no strategy has a greater one.
    let Ok(id) = asked.map(|asked| i32::try_from(asked.get())).transpose() else { return Ok(None) };
    if let Some(found) = statements::enhanced(reading, user, id, warnings).await? {
        return Ok(Some(found));
    }
    Ok(statements::legacy(reading, user, id, warnings).await?)
}

impl Resolution {
    /// None if the user has no strategy, or not the one asked for.
    #[must_use]
    pub fn resolved(&self) -> Option<ResolvedStrategy> {
        self.found.as_ref().map(|found| found.resolved)
    }

    /// Reads the rest, adds the quality objects and ends the transaction.
    pub async fn read(self) -> Result<Read<Option<Strategy>>, SourceError> {
        let Self { reading, user, found, mut warnings } = self;
        let Some(mut found) = found else {
            reading.end().await?;
            return Ok(Read { value: None, warnings });
        };
        // The user's own figures come before those that were recorded.
        if found.resolved.kind == StrategyKind::Enhanced && !filled(&found.row["performance_metrics"]) {
            let newest = strategy_metrics::newest(&reading, found.resolved.id, &user).await?;
            let metrics = newest.map(|row| strategy_metrics::of(&mut row.of(&STRATEGY_METRICS, &mut warnings)));
            // An input like the columns, from a table of its own.
            if let Some(metrics) = metrics.filter(|metrics| !metrics.is_empty()) {
                found.row["performance_metrics"] = metrics.into();
            }
        }
        reading.end().await?;
        Ok(Read { value: Some(message::strategy(&user, found)), warnings })
    }
}

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
