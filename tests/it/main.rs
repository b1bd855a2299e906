//! Everything that needs a server, a socket or a database: one binary, so that it is linked once and
//! its PostgreSQL is started once.

mod demo;
mod migrations;
mod read_path;
mod support;
mod upkeep;
