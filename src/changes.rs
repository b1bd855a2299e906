//! How a change in the sources makes itself known: triggers on their tables write a row into
//! `invalidation_outbox`, in the writer's own transaction, and a relay turns rows into fences.
//!
//! What is watched is one table of data ([`watched`]); the two databases' SQL is made from it
//! ([`postgres`], [`sqlite`]). A trigger compares only columns that we read, so a save that changes
//! nothing concerns nobody. Polling `updated_at` was rejected: it misses deletes, late commits and
//! every table without such a column, and costs a query per table and turn.

mod install;
mod outbox;
mod postgres;
mod sqlite;
mod watched;

pub use install::{InstallError, State, TriggerState, columns, install, install_if_outdated, lacking, remove, status};
pub use outbox::{Batch, Outbox, Waiting, waiting};
