//! Single flight, the invalidation log and the lease, each under thousands of schedules of its steps: half of them
//! drawn at random, half with few preemptions at chosen places (PCT). And the same with something broken, which
//! has to be noticed.
//!
//! The files under test are the service's own; `src/sync.rs` says what Shuttle exchanges around them.
//!
//! A schedule that fails is printed. `SCHEDULE=<it> bash tests/run shuttle <test>` runs that one again,
//! `SCHEDULES=<n>` runs n times as many as usual, `SHUTTLE_RANDOM_SEED=<n>` others than the usual ones.

#![expect(clippy::disallowed_types, reason = "Shuttle does not exchange the locks of tests")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod explore;
mod invalidation_log;
mod single_flight;
mod lease;
mod refresh;
