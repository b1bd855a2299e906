//! Assembles a document from its five sources: which start at once, which wait for others, which are required, and what
//! a failure means.
//!
//! Sources never import each other and know no cache. They share the readers of JSON ([`value`]), the access to tables
//! ([`sql`]) and the rows that more than one of them works on ([`rows`]). One async block states the order
//! ([`Aggregator::aggregate`]); a graph of tasks would need more code for the same.

mod aggregator;
pub mod ai_analysis;
mod assembly;
pub mod derived;
mod error;
pub mod gap_analysis;
pub mod guard;
pub mod onboarding;
mod open;
pub mod performance;
mod plan;
pub mod rows;
pub mod sql;
pub mod strategy;
mod strategy_metrics;
#[cfg(test)]
mod testing;
mod value;

pub use aggregator::Aggregator;
pub use error::{AggregateError, SourceError};
pub use open::{FileSources, OpenSources, SourcePlace};
pub use plan::{Assembled, AssembledPart, Plan, Read};
