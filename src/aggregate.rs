//! Assembling a document from its five sources: what starts at once, what waits for what, what is
//! required, and what a failure means.
//!
//! Sources never import each other and know no cache. They share the readers ([`value`]), the way
//! to read tables ([`sql`]) and the rows that more than one of them works on ([`rows`]). What
//! depends on what is said by one async block ([`Aggregator::aggregate`]); a graph of tasks would
//! say the same with more words.

mod aggregator;
pub mod ai_analysis;
mod assembly;
pub mod derived;
mod error;
pub mod gap_analysis;
pub mod guard;
pub mod onboarding;
pub mod performance;
mod plan;
pub mod rows;
pub mod sql;
pub mod strategy;
#[cfg(test)]
mod strategy_tables;
mod value;

pub use aggregator::Aggregator;
pub use error::{AggregateError, SourceError};
pub use plan::{Assembled, AssembledPart, Plan, Read};
