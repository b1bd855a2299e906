//! The real servers that the tests start: on free ports, in temporary directories, and gone with this
//! process however it ends. They are the tests' own files, so that a comparison stands on what is tested.

#[path = "../../tests/it/support/database.rs"]
pub(crate) mod database;
#[path = "../../tests/it/support/needs.rs"]
mod needs;
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
#[path = "../../tests/it/support/process.rs"]
mod process;
#[path = "../../tests/it/support/redis.rs"]
pub(crate) mod redis;
#[path = "../../tests/it/support/sources.rs"]
pub(crate) mod sources;

pub(crate) use needs::wait_for;
use needs::{binary, free_port, log_of};
