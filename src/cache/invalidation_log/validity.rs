//! How far an instance knows what has outdated its documents.

/// Whether cached data may be served by the local copy of the log. The better one comes first, so the worse of two is
/// their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogValidity {
    /// The lease holds: no invalidation older than the lease is missing.
    Verified,
    /// The lease has lapsed, but not for longer than `unverified_max`: cached answers are flagged.
    Unverified,
    /// The lease has lapsed for too long, or the log was never read: nothing cached may be served.
    Expired,
}
