//! What is read of the log: its head, and its entries.

use std::sync::Arc;

use crate::{cache::change_feed::round::FeedHead, model::Invalidation};

/// The counter row, and the nonce of the row that the reader applied last.
#[derive(Debug)]
pub(super) struct LogHead {
    pub(super) epoch: Arc<str>,
    pub(super) position: i64,
    pub(super) low_watermark: i64,
    pub(super) lease_ms: i64,
    pub(super) nonce: Option<i64>,
    pub(super) feed: FeedHead,
}

#[derive(Clone, Debug)]
pub(super) struct LogRow {
    pub(super) position: i64,
    pub(super) invalidation: Invalidation,
    pub(super) nonce: i64,
}
