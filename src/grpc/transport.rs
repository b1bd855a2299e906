//! Sockets: from an accepted connection to HTTP/2 requests. Nothing here knows what a request is about.

pub mod http2;
pub mod listener;
pub mod preface;
pub mod tls;
pub mod write_coalescing;
