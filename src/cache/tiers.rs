//! The three tiers that hold snapshots: memory, Redis and the cache table.

pub mod access_counts;
pub mod database;
pub(crate) mod error;
pub(in crate::cache) mod fallback;
pub(in crate::cache) mod lookup;
pub mod memory;
pub mod redis;
mod store;
pub mod tier_metrics;
