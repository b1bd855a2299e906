//! Everything that needs a server, a socket or a database: one binary, so that it is linked once and
//! its PostgreSQL is started once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod demo;
mod migrations;
mod read_path;
mod support;
mod tiers;
mod upkeep;
