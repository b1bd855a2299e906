//! (signatures first; the body follows)

pub mod breaker;
pub mod database;
pub mod figures;
pub mod record;
pub mod redis;
pub mod tally;
pub mod tier_error;

#[cfg(test)]
mod testing;

use std::time::Duration;

use crate::{
    error::Error,
    model::{Scope, Served, Token, UserDataQuery},
    proto::v1::GetCacheStatsResponse,
};

/// What a caller wants of an answer's freshness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// How much has to be known.
    pub freshness: Freshness,
    /// Nothing older than this invalidation.
    pub min_token: Option<Token>,
    /// An older snapshot is treated as missing.
    pub max_age: Option<Duration>,
}

/// How much has to be known about an answer's freshness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Verified within the lease, or flagged.
    #[default]
    Default,
    /// Never unverified, never stale.
    Strict,
    /// The log is read first.
    Linearizable,
}

/// How an invalidation is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invalidation {
    /// Return only once every instance honours it.
    pub wait_all: bool,
    /// Erase: rows, Redis copies and memos are gone before it returns.
    pub purge: bool,
}

/// An acknowledged invalidation.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalidated {
    /// Rows deleted, best effort.
    pub removed: u64,
    /// The fence's position.
    pub token: Token,
}

/// The cache: three tiers, the fence, the flights and the sources behind them.
#[derive(Debug)]
pub struct UserDataCache;

impl UserDataCache {
    /// The user's document, from a tier or assembled.
    pub async fn get(&self, _query: &UserDataQuery, _wish: &Wish) -> Result<Served, Error> {
        unimplemented!()
    }
    /// The user's document, assembled anew.
    pub async fn refresh(&self, _query: &UserDataQuery) -> Result<Served, Error> {
        unimplemented!()
    }
    /// Makes everything read before this call unusable.
    pub async fn invalidate(&self, _scope: Scope, _how: Invalidation) -> Result<Invalidated, Error> {
        unimplemented!()
    }
    /// The table's counts and this instance's figures; `uptime` and `version` are the server's to add.
    pub async fn stats(&self, _most_accessed: u32) -> Result<GetCacheStatsResponse, Error> {
        unimplemented!()
    }
    /// Deletes expired rows: at most `limit`, or all in batches. Returns how many.
    pub async fn cleanup(&self, _limit: Option<u64>) -> Result<u64, Error> {
        unimplemented!()
    }
    /// The most accessed questions without parameters, for warming.
    pub async fn most_accessed(&self, _count: u32) -> Result<Vec<UserDataQuery>, Error> {
        unimplemented!()
    }
}
