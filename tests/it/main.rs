//! Everything that needs a server, a socket or a database: one binary, so that it is linked once and
//! its PostgreSQL is started once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "for whoever looks at a failure")]

mod demo;
mod load_lease;
mod migrations;
mod support;
