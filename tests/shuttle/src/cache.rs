//! Of the cache only what is under test.

pub mod fence;
pub mod flight;
