//! The layers around every request, one file each. [`stack`](super::stack) puts them in order and says why.
//!
//! Each is a `Layer`, a `Service` and a named future. Between the outermost layer and the service travel a
//! [`Call`](super::call::Call) and an [`Answer`](super::answer::Answer). A layer that only looks at a call's headers
//! is a [`CallFilter`](filter::CallFilter).
//!
//! Every service is ready always: limits refuse, they do not wait. No layer imports another.

pub mod auth;
pub(super) mod catch_panic;
pub(super) mod concurrency_limit;
pub(super) mod content_type;
pub(super) mod deadline;
pub(super) mod deadline_parsed;
pub(super) mod drain;
mod filter;
pub(super) mod memory_hit;
pub(super) mod metrics;
pub(super) mod receive;
pub(super) mod request_id;
mod rescue;
pub mod response_body;
pub(super) mod trace;

pub(super) use filter::FilterLayer;
