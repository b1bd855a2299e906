//! What the whole cluster knows of erased users.

use std::fmt;

use futures::future::BoxFuture;

use crate::{clock::Moment, model::UserId};

/// Implemented by the invalidation log, which this module does not know.
pub trait Erasures: fmt::Debug + Send + Sync {
    /// Whether a user may have been erased at `since` or later, by any instance. Every erasure that was acknowledged before
    /// this call is known to it.
    fn may_be_erased_since<'a>(&'a self, user: &'a UserId, since: Moment) -> BoxFuture<'a, bool>;
}
