//! Real servers for tests: on free ports, in temporary directories, gone when the test process is
//! gone, however that happens. What is missing is a failure, never a skip.

#![expect(clippy::disallowed_types, reason = "Shuttle does not exchange the locks of tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod ai;
pub mod jwt;
mod needs;
pub mod pgbouncer;
pub mod pki;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod sqlite_writer;
pub mod wire;

pub use needs::{RefusingPort, binary, free_port, log_of, wait_for};
