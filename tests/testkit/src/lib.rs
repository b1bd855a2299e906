//! The service for tests, among real servers: on free ports, in temporary directories, gone when the test process is
//! gone, however that happens. What is missing is a failure, never a skip.

#![expect(clippy::disallowed_types, reason = "Shuttle does not exchange the locks of tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "a database that is left behind is reported")]

pub mod ask;
pub mod assembly;
pub mod call;
pub mod cluster;
pub mod command;
pub mod database;
pub mod demo;
pub mod generations;
pub mod get;
pub mod http;
pub mod inputs;
pub mod instance;
pub mod lines;
pub mod load;
pub mod oracle;
pub mod seeded;
pub mod server;
pub mod sources;
pub mod user_folder;

pub use servers::{
    RefusingPort, ai, binary, free_port, jwt, log_of, pgbouncer, pki, postgres, process, proxy, raw, redis,
    sqlite_writer, wait_for, wire,
};
