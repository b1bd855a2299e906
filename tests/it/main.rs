//! Everything that needs a server, a socket or a database: one binary, so that it is linked once and
//! its PostgreSQL is started once.

mod architecture;
mod coherence;
mod data_hash;
mod demo;
mod herd;
mod migrations;
mod support;
