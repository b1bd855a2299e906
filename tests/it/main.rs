//! Everything that needs a server, a socket or a database: one binary, so that it is linked once and
//! its PostgreSQL is started once.

#![expect(clippy::unwrap_used, reason = "all of it is tests; clippy knows only functions that are marked as such")]

mod bad_input;
mod command_line;
mod contract;
mod demo;
mod migrations;
mod shutdown;
mod support;
