//! How changes in the sources are noticed: triggers on their tables write notes into `invalidation_outbox`, in the
//! transaction of the change, and the change relay appends the invalidations that follow from them.
//!
//! Both databases' triggers ([`postgres`], [`sqlite`]) are made from [`crate::source_schema`]. A trigger compares only
//! the columns that are read, so a save that changes none of them notes nothing. It reads nothing but its own row: whom
//! a note concerns is found by its reader. Polling `updated_at` was rejected: it misses deletes, late commits and tables
//! without such a column, and costs a query per table and poll cycle.

mod consumed;
mod consumers;
mod install;
mod look;
mod outbox;
mod owners;
mod postgres;
mod requirements;
mod sqlite;
mod status;
mod waiting;
mod watched;

pub use consumed::{Consumed, Discontinuity};
pub use consumers::{Consumer, Reported};
pub use install::{InstallError, Progress, install, install_if_outdated, install_with, remove};
pub use outbox::{Outbox, Reading};
pub use requirements::{WRITTEN, published, read_for_owners};
pub use status::{TableTriggers, TriggerState, status};
pub use waiting::{Waiting, waiting};
