//! Nothing read before an acknowledged invalidation is served after it: docs/coherence.md, tested
//! from outside. The document carries a count that the test writes into a source row, so that every
//! answer says how old its data is.

mod invalidation_log;
mod held;
mod instances;
mod kills;
mod lost;
mod odd_rows;
mod purge;
mod race;
mod restart;
mod restored;
mod storm;
mod two_primaries;
