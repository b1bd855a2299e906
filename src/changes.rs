//! How changes in the sources are noticed: triggers on their tables write a row into `invalidation_outbox`, in the
//! transaction of the change, and the change relay appends an invalidation for each row.
//!
//! Both databases' triggers ([`postgres`], [`sqlite`]) are made from [`crate::source_schema`]. A trigger compares only
//! the columns that are read, so a save that changes none of them invalidates nothing. Polling `updated_at` was
//! rejected: it misses deletes, late commits and tables without such a column, and costs a query per table and poll
//! cycle.

mod install;
mod outbox;
mod postgres;
mod sqlite;
mod watched;

pub use install::{InstallError, TableTriggers, TriggerState, install, install_if_outdated, remove, status};
pub use outbox::{Batch, Outbox, Waiting, waiting};
