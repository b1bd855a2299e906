//! What a load is asked for, and what it returns.

use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;

use crate::{
    error::Error,
    model::{CacheStatus, Snapshot},
};

/// Where a load may find the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LoadMode {
    /// Redis and the table first, then the sources.
    ReadThrough,
    /// Like `ReadThrough`, but only a snapshot assembled after this one counts.
    Revalidate(DateTime<Utc>),
    /// Like `ReadThrough`, without a waiting caller: AI calls need a budget.
    Prefetch,
    /// The sources only.
    BypassCache,
    /// The sources only, without cached AI responses.
    Refresh,
}

/// A document and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct LoadedSnapshot {
    pub(crate) snapshot: Snapshot,
    pub(crate) status: CacheStatus,
    /// The snapshot honours every invalidation up to this position.
    pub(crate) position: i64,
}

/// The result of a load, and its span for the callers that joined it.
#[derive(Clone, Debug)]
pub(crate) struct LoadOutcome {
    pub(crate) result: Result<LoadedSnapshot, Error>,
    pub(crate) span: SpanContext,
}
