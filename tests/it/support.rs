//! Real servers for tests: on free ports, in temporary directories, gone when the test process is
//! gone, however that happens. What is missing is a failure, never a skip.

pub(crate) mod ai;
pub(crate) mod ask;
pub(crate) mod assembly;
pub(crate) mod call;
pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod database;
pub(crate) mod demo;
pub(crate) mod get;
pub(crate) mod inputs;
pub(crate) mod lines;
pub(crate) mod load;
mod needs;
pub(crate) mod oracle;
pub(crate) mod pki;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod seeded;
pub(crate) mod server;
pub(crate) mod sources;
pub(crate) mod wire;

pub(crate) use needs::{binary, free_port, log_of, wait_for};
