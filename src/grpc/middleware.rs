//! What surrounds every request, one file each. [`stack`](super::stack) puts them in order and says why.

pub mod auth;
pub mod catch_panic;
pub mod concurrency_limit;
pub mod deadline;
pub mod memory_hit;
pub mod metrics;
pub mod response_body;
