//! The analytics scope: the legacy strategies whose calendar and analytics count.
//!
//! Calendar events and analytics hang on legacy strategies only. A resolved LEGACY strategy is its own scope; with an
//! ENHANCED one, or none, all legacy strategies of the user are.

use sea_orm::{DbErr, Value};

use super::super::{
    rows::ResolvedStrategy,
    sql::{ReadTransaction, Warnings},
};
use crate::{database::SqlFile, model::UserId, source_schema::LEGACY_STRATEGIES};

/// At most 100 are listed in the document; all of them count.
pub(super) const STRATEGY_IDS: SqlFile = SqlFile::same(include_str!("sql/strategy_ids.sql"));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnalyticsScope<'a> {
    pub(super) user: &'a UserId,
    /// None: all legacy strategies of the user.
    strategy: Option<i32>,
}

impl<'a> AnalyticsScope<'a> {
    pub(super) fn of(user: &'a UserId, resolved: Option<ResolvedStrategy>) -> Self {
        Self { user, strategy: resolved.and_then(ResolvedStrategy::legacy) }
    }

    /// `$1` and `$2` of the statements.
    pub(super) fn values(self) -> [Value; 2] {
        [self.user.as_str().into(), self.strategy.into()]
    }

    /// The scope's strategies, ascending, as far as they are listed.
    pub(super) async fn strategy_ids(
        self,
        reading: &ReadTransaction,
        warnings: &mut Warnings,
    ) -> Result<Vec<i64>, DbErr> {
        if let Some(id) = self.strategy {
            return Ok(vec![id.into()]);
        }
        let rows = reading.all(STRATEGY_IDS, [self.user.as_str().into()]).await?;
        Ok(rows.iter().filter_map(|row| row.of(&LEGACY_STRATEGIES, warnings).integer("id")).map(i64::from).collect())
    }
}
