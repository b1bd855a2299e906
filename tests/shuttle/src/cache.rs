//! Of the cache only what is under test.

pub mod invalidation_log;
pub mod single_flight;
