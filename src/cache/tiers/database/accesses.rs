//! Access counts in the table: as listed for the statistics, and as added by a flush.

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::FromQueryResult;
use serde::Serialize;

use super::row::strategy_key;
use crate::{
    database::SIX_DECIMALS,
    model::{CacheKey, Parameters, StrategyId, UserDataQuery, UserId},
    proto::v1::AccessedEntry,
};

/// A row without its document.
#[derive(FromQueryResult)]
pub(super) struct Accessed {
    user_id: String,
    strategy_id: Option<i64>,
    data_hash: String,
    access_count: i64,
    last_accessed: NaiveDateTime,
}

impl Accessed {
    pub(super) fn into_entry(self) -> AccessedEntry {
        AccessedEntry {
            user_id: self.user_id,
            strategy_id: self.strategy_id,
            access_count: self.access_count,
            last_accessed: Some(self.last_accessed.and_utc().into()),
            data_hash: self.data_hash,
        }
    }

    pub(super) fn without_parameters(&self) -> Option<(UserId, Option<StrategyId>)> {
        let user = UserId::parse(&self.user_id).ok()?;
        let strategy = self.strategy_id.and_then(StrategyId::new);
        let query = UserDataQuery::new(user.clone(), strategy, Parameters::none());
        (query.key().hash.to_string() == self.data_hash).then_some((user, strategy))
    }
}

/// One element of the array that the access statement unfolds.
#[derive(Serialize)]
pub(super) struct AccessedRow<'a> {
    user_id: &'a str,
    strategy_key: i64,
    data_hash: String,
    n: u64,
    last: String,
}

impl<'a> AccessedRow<'a> {
    pub(super) fn of((key, n, last): &'a (CacheKey, u64, DateTime<Utc>)) -> Self {
        Self {
            user_id: key.user.as_str(),
            strategy_key: strategy_key(key.strategy),
            data_hash: key.hash.to_string(),
            n: *n,
            last: last.format(SIX_DECIMALS).to_string(),
        }
    }
}
