//! Sockets: from an accepted connection to HTTP requests. Nothing here knows what a request is about.

pub(super) mod channel;
mod client_certificate;
pub mod connections;
pub(crate) mod guarded_stream;
pub mod http_server;
pub mod listener;
pub mod peer;
pub(crate) mod port;
pub mod tls;
pub mod write_coalescing;
