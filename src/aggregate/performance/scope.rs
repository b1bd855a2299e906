//! The analytics scope: the legacy strategies whose calendar and analytics count.
//!
//! Calendar events and analytics hang on legacy strategies only. A resolved LEGACY strategy is its
//! own scope; with an ENHANCED one, or none, all of the user's legacy strategies are.

use sea_orm::{DbErr, Value};

use super::super::{
    rows::ResolvedStrategy,
    sql::{ReadTransaction, Warnings},
};
use crate::{model::UserId, proto::v1::StrategyKind};

/// Strategies listed in the document at most; all of them count.
const STRATEGY_IDS_MAX: usize = 100;

/// Whose analytics count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnalyticsScope {
    /// This legacy strategy's, known to be the user's.
    Strategy(i32),
    /// All legacy strategies' of this user.
    User(i32),
}

impl AnalyticsScope {
    /// None for a user that the integer columns cannot hold.
    pub(super) fn of(user: &UserId, resolved: Option<ResolvedStrategy>) -> Option<Self> {
        match resolved {
            Some(ResolvedStrategy { kind: StrategyKind::Legacy, id }) => Some(Self::Strategy(id)),
            _ => user.integer().map(Self::User),
        }
    }

    /// The query `own` of the scope's strategy ids; [`Self::value`] is its parameter.
    pub(super) fn own(self) -> &'static str {
        match self {
            Self::Strategy(_) => "own AS (SELECT CAST(:scope AS INTEGER) AS id)",
            Self::User(_) => "own AS (SELECT id FROM content_strategies WHERE user_id = :scope)",
        }
    }

    /// What `:scope` is in [`Self::own`].
    pub(super) fn value(self) -> (&'static str, Value) {
        match self {
            Self::Strategy(id) | Self::User(id) => ("scope", id.into()),
        }
    }
}

/// The scope's strategies, ascending, as far as they are listed.
pub(super) async fn strategy_ids(
    reading: &ReadTransaction,
    scope: AnalyticsScope,
    warnings: &mut Warnings,
) -> Result<Vec<i64>, DbErr> {
    if let AnalyticsScope::Strategy(id) = scope {
        return Ok(vec![id.into()]);
    }
    let sql = format!(
        "WITH {own} SELECT CAST(own.id AS BIGINT) AS id FROM own ORDER BY own.id LIMIT {STRATEGY_IDS_MAX}",
        own = scope.own()
    );
    let rows = reading.all(&sql, &[scope.value()]).await?;
    Ok(rows.iter().filter_map(|row| row.int32("content_strategies", "id", warnings)).map(i64::from).collect())
}
